"""Regions: a word acts inside its mask alone, at every resolution, and says clearly what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mappers.neti import NeTIMapper
from pipelines.personalization.attention import LayerContexts, context_attention, layer_levels
from pipelines.personalization.concepts import Concept
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.prompt_batch import PromptBatch
from pipelines.personalization.regions import Regions, read_regions

CAT, DOG = "<cat>", "<dog>"


@pytest.fixture
def knowing(pipeline: NeTIPipeline) -> NeTIPipeline:
    for seed, token in enumerate((CAT, DOG)):
        pipeline.load_concept(Concept(token, "toy", NeTIMapper(16, 16, 20.0, seed=seed), pipeline.base, "tiny"))
    return pipeline


def mask(width: int = 32, height: int = 32, *, left: int | None = None) -> Image.Image:
    white = np.zeros((height, width), np.uint8)
    white[:, : width if left is None else left] = 255
    return Image.fromarray(white)


def draw(pipeline: NeTIPipeline, prompt: str = f"a {CAT} on a {DOG}", **options: Any) -> np.ndarray:
    noise = torch.Generator().manual_seed(0)
    return np.asarray(pipeline(prompt, num_inference_steps=2, output_type="np", generator=noise, **options).images)


def test_a_word_acts_in_its_cells_alone(knowing: NeTIPipeline) -> None:
    """A change of the word's context is felt by the cells of its mask, at each of the four resolutions, and no others.

    On a picture twice as wide as high, with three of its eight parts white; the second row has the word elsewhere.
    """
    unet, layers = knowing.unet, knowing.layers
    position = torch.zeros(2, 5, dtype=torch.bool)
    position[0, 2] = position[1, 3] = True
    white = torch.zeros(64, 128)
    white[:, :48] = 1
    regions = Regions([position], [white])
    generator = torch.Generator().manual_seed(1)
    keys, values = (torch.randn(layers, 2, 5, 16, generator=generator) for _ in range(2))
    levels = layer_levels(unet, knowing.cross_attentions)
    for layer in [levels.index(level) for level in range(4)]:
        module = unet.get_submodule(knowing.cross_attentions[layer])
        height, width = 16 >> levels[layer], 32 >> levels[layer]
        cells = torch.randn(2, height * width, module.to_q.in_features, generator=generator)
        with context_attention(unet), torch.no_grad():
            outputs: list[Tensor] = []
            for change in (0.0, 1.0):
                contexts = LayerContexts(keys + change * position[..., None], values + change * position[..., None])
                outputs.append(module(cells, contexts=contexts, regions=regions).unflatten(1, (height, width)))
            free = module(cells, contexts=contexts)
        felt = (outputs[0] != outputs[1]).any(-1)
        expected = torch.arange(width) < -(-width * 3 // 8)
        assert torch.equal(felt, expected.expand(2, height, width)), layer
        whole = width * 3 // 8  # cells that the mask covers entirely attend as if there were no regions
        torch.testing.assert_close(outputs[1][:, :, :whole], free.unflatten(1, (height, width))[:, :, :whole])


def test_white_everywhere_changes_nothing(knowing: NeTIPipeline) -> None:
    picture = draw(knowing)
    np.testing.assert_array_equal(draw(knowing, regions={}), picture)
    np.testing.assert_allclose(draw(knowing, regions={CAT: mask(), DOG: mask()}), picture, atol=1e-5)


def test_regions_decide_who_is_where(knowing: NeTIPipeline) -> None:
    left, right = mask(left=16), Image.fromarray(255 - np.asarray(mask(left=16)))
    one, other = draw(knowing, regions={CAT: left, DOG: right}), draw(knowing, regions={CAT: right, DOG: left})
    assert np.abs(one - other).max() > 1e-5
    wide = {"height": 32, "width": 64, "negative_prompt": f"a {DOG}", "num_images_per_prompt": 2}
    assert np.isfinite(draw(knowing, **wide, regions={DOG: mask(64, 32, left=10)})).all()


def test_with_stable_diffusion_xl(sdxl: NeTIPipeline) -> None:
    sdxl.load_concept(Concept(CAT, "toy", NeTIMapper(70, [16, 24], [20.0, 30.0]), sdxl.base, "tiny"))
    picture = draw(sdxl, f"a {CAT}")
    np.testing.assert_allclose(draw(sdxl, f"a {CAT}", regions={CAT: mask()}), picture, atol=1e-4)
    assert np.abs(draw(sdxl, f"a {CAT}", regions={CAT: mask(left=8)}) - picture).max() > 1e-5


def test_half_precision_reads_regions(knowing: NeTIPipeline) -> None:
    batch = PromptBatch.of(f"a {CAT}", None, 1, guided=False, empty="", device=torch.device("cpu"))
    regions = read_regions({CAT: mask(left=16)}, knowing.text, batch, [CAT], (32, 32))
    bias = regions.bias(torch.zeros(1, 2, 64, 4, dtype=torch.bfloat16))
    assert bias.dtype == torch.bfloat16
    assert bias.shape == (1, 1, 64, knowing.tokenizer.model_max_length)


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ({CAT: mask(16, 16)}, "the region of <cat> has 16x16 pixels, the picture that is drawn 32x32"),
        ({CAT: mask(64, 32)}, "the region of <cat> has 64x32 pixels"),
        ({"<cow>": mask()}, r"regions name '<cow>', which is not loaded; loaded are \['<cat>', '<dog>'\]"),
        ({DOG: mask()}, "regions name '<dog>', which is in no prompt"),
        ({CAT: mask(left=0)}, "the region of <cat> is black"),
    ],
)
def test_what_does_not_fit(knowing: NeTIPipeline, regions: dict[str, Image.Image], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(knowing, f"a {CAT}", regions=regions)
