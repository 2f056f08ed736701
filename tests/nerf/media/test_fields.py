"""Fields of pictures and videos: the twins differ in modulation alone, and a fresh CAM is its normed twin."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nerf.media.fields import MODULATIONS, PictureConfig, PictureField, VideoConfig, VideoField


def fields(cls: type, config: type, **sizes: Any) -> dict[str, Any]:
    built = {}
    for name in MODULATIONS:
        torch.manual_seed(0)
        built[name] = cls(config(modulation=name, **sizes))
    return built


def pictures() -> dict[str, Any]:
    return fields(PictureField, PictureConfig, width=16, frequencies=8, layers=2, nodes=(4, 5))


def videos(height: int = 21, width: int = 18) -> dict[str, Any]:
    return fields(VideoField, VideoConfig, height=height, width=width, channels=8, blocks=2, nodes=5)


def test_a_picture_fields_parameters_are_its_twins_and_two_scalars_a_node_and_layer() -> None:
    counts = {name: sum(p.numel() for p in field.parameters()) for name, field in pictures().items()}
    assert counts["plain"] == counts["normed"]
    assert counts["cam"] - counts["plain"] == 4 * 5 * 2 * 2


@pytest.mark.parametrize("make", [pictures, videos])
def test_a_fresh_cam_is_its_normed_twin(make: Any) -> None:
    built = make()
    at = torch.rand(6, 2) if make is pictures else torch.linspace(0, 1, 3)
    torch.testing.assert_close(built["cam"](at), built["normed"](at))
    assert not torch.allclose(built["cam"](at), built["plain"](at))


@pytest.mark.parametrize("make", [pictures, videos])
def test_every_parameter_gets_a_gradient(make: Any) -> None:
    for field in make().values():
        at = torch.rand(400, 2) if make is pictures else torch.linspace(0, 1, 9)
        field(at).square().sum().backward()
        for name, parameter in field.named_parameters():
            assert parameter.grad is not None, name
            assert (parameter.grad != 0).any(), name


def test_a_point_or_frame_does_not_depend_on_the_others() -> None:
    at, times = torch.rand(7, 2), torch.linspace(0, 1, 4)
    for name in MODULATIONS:
        picture, video = pictures()[name], videos()[name]
        torch.testing.assert_close(picture(at)[2:3], picture(at[2:3]))
        torch.testing.assert_close(video(times)[1:2], video(times[1:2]), atol=1e-5, rtol=1e-4)


def test_frames_have_any_size_and_lie_in_range() -> None:
    frames = videos(21, 18)["cam"](torch.tensor([0.0, 0.5]))
    assert frames.shape == (2, 21, 18, 3)
    assert ((frames >= 0) & (frames <= 1)).all()


def test_times_outside_the_video_are_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1, got 1\.2"):
        videos()["cam"](torch.tensor([1.2]))


def test_bad_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="modulation must be one of cam, normed, plain, got 'x'"):
        PictureConfig(modulation="x")  # pyright: ignore
    with pytest.raises(ValueError, match="layers must be at least 1"):
        PictureConfig(layers=0)
    with pytest.raises(ValueError, match="a frame needs 2 pixels"):
        VideoConfig(height=1, width=20)
