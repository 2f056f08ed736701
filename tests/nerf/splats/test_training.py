"""Splats learn the pictures of a scene, and their loss's similarity is the one of scikit-image."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from skimage.metrics import structural_similarity as reference

from mappers.training.train_config import TrainConfig
from nerf.fields import FieldError
from nerf.fields.splat import SplatConfig, SplatField
from nerf.runs import Run, load_run
from nerf.scenes import Scene
from nerf.settings import RadianceConfig
from nerf.splats.training import structural_similarity
from nerf.training import train

SMALL = SplatConfig(count=300, degree=1)
SETTINGS = RadianceConfig(
    train=TrainConfig(
        steps=60, batch_size=2, learning_rate=3e-2, schedule="cosine", weight_decay=0.0, eps=1e-15, betas=(0.9, 0.99),
        log_every=10, save_every=20, validate_every=60, cpu=True,
    ),
    relocate_every=10,
)  # fmt: skip


@pytest.fixture(scope="module")
def learned(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    folder = tmp_path_factory.mktemp("splats")
    return train(scene, "splat", size=SMALL, config=SETTINGS, output_dir=folder), folder


def test_splats_learn_a_scene_and_leave_a_run_that_draws_the_same(learned: tuple[Run, Path], scene: Scene) -> None:
    run, folder = learned
    assert run.report.metrics["val/psnr"] > 15
    again, camera = load_run(folder), scene.split("test").cameras[0]
    assert torch.equal(again.draw(camera).color, run.draw(camera).color)
    assert again.viewpoints == run.viewpoints


def test_a_resumed_run_is_bit_equal(learned: tuple[Run, Path], scene: Scene, tmp_path: Path) -> None:
    stopped = train(scene, "splat", size=SMALL, config=SETTINGS, output_dir=tmp_path, max_minutes=1e-9)
    assert stopped.report.steps < 60
    resumed = train(scene, "splat", size=SMALL, config=SETTINGS, output_dir=tmp_path, resume=True)
    pairs = zip(learned[0].field.state_dict().values(), resumed.field.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_what_needs_a_density_is_refused_with_the_remedy(learned: tuple[Run, Path], scene: Scene) -> None:
    with pytest.raises(FieldError, match=r"splat fields have no density at points; .*distill --field hash"):
        learned[0].volume()
    for setting in ({"distortion": 0.1}, {"bits": 4}, {"l1": 0.1}):
        config = dataclasses.replace(SETTINGS, **setting)
        with pytest.raises(FieldError, match=f"{next(iter(setting))} does not exist for splat"):
            train(scene, "splat", size=SMALL, config=config)
    with pytest.raises(ValueError, match=r"degree of the spherical harmonics must be in 0\.\.3"):
        SplatConfig(degree=4)


def test_similarity_is_that_of_scikit_image() -> None:
    torch.manual_seed(0)
    a = torch.rand(24, 20, 3)
    b = (a + 0.2 * torch.randn(24, 20, 3)).clamp(0, 1)
    theirs = reference(
        a.numpy(), b.numpy(), channel_axis=-1, data_range=1.0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )[1]  # fmt: skip
    # Apart from the border, where the window leaves the pictures.
    ours = structural_similarity(a, b)[5:-5, 5:-5]
    torch.testing.assert_close(ours, torch.from_numpy(theirs[5:-5, 5:-5]).float(), atol=2e-4, rtol=0)


def test_masked_pixels_do_not_change_what_is_learned(scene: Scene) -> None:
    kept = torch.ones(scene.pictures.shape[:3], dtype=torch.bool)
    kept[:, 5:15, 5:15] = False
    other = scene.pictures.clone()
    other[~kept] = 255 - other[~kept]
    fields = []
    config = dataclasses.replace(
        SETTINGS, ssim=0.0, train=dataclasses.replace(SETTINGS.train, steps=3, validate_every=None)
    )
    for pictures in (scene.pictures, other):
        masked = dataclasses.replace(scene, pictures=pictures, kept=kept)
        fields.append(train(masked, "splat", size=SMALL, config=config).field)
    assert isinstance(fields[0], SplatField)
    pairs = zip(fields[0].state_dict().values(), fields[1].state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
