"""A learned word as an ordinary LoRA beside one vector, for ComfyUI, Forge, InvokeAI and plain diffusers.

The vector stands in the prompt as with textual inversion. The LoRA changes ``to_k`` and ``to_v`` of each
cross-attention such that rows of a prompt with the vector become what NeTI's contexts are there, and others stay.
It has a closed form: a ridge regression of few rank. It cannot follow timesteps, so it has their mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from mappers.files import replacing
from mappers.neti import TextualInversionMapper

from .contexts import ContextTable
from .exports import Probe, averaged_mapper, save_vector
from .pipeline import NeTIPipeline
from .task import TEMPLATES

FILES = {"diffusers": "lora.safetensors", "kohya": "lora_kohya.safetensors"}
"""Layouts and their files: peft's names for `load_lora_weights`, kohya's for ComfyUI, Forge and InvokeAI."""
MAX_BYTES, MAX_RANK = 2_000_000, 8
"""Of a file, and of an update: the rank is the highest that both allow."""
TIMES = 8
"""Timesteps whose contexts are averaged."""
OTHER_WORDS = 40
"""Words of the vocabulary whose prompts have to stay what they are."""
KEEP = 4.0
"""Weight of a row that has to stay, relative to a row of the word."""
RIDGE = 1e-3
"""Of the regression, relative to the mean square of the rows."""


@dataclass(frozen=True)
class Update:
    """A change of one projection's weight: ``up @ down``."""

    up: Float[Tensor, "o r"]
    down: Float[Tensor, "r d"]


@torch.no_grad()
def fit_updates(pipeline: NeTIPipeline, token: str, vector: TextualInversionMapper) -> dict[str, Update]:
    """The updates of all projections, by the projections' names.

    Args:
        pipeline: a pipeline that has loaded the word.
        token: the word.
        vector: what stands for the word in prompts.
    """
    texts = [template.format(token) for template in TEMPLATES["object"]]
    made = pipeline.contexts(texts)
    alone = ContextTable(pipeline.text, texts, {token: vector}, 1).at(0.0).keys[0].float()
    after = made.position.cumsum(1) > 0  # what stands before the word is the same
    rows = alone[after].double()
    others = pipeline.text.encode(pipeline.text.tokenize(_other_prompts(pipeline), []), {}).keys.flatten(0, 1).double()
    kept = KEEP * len(rows) / len(others)
    moments = rows.T @ rows + kept * others.T @ others
    moments.diagonal().add_(RIDGE * moments.diagonal().mean())
    root = torch.linalg.cholesky(moments)
    whitened = torch.linalg.solve_triangular(root, rows.T, upper=False)
    steps = torch.linspace(999 / (2 * TIMES), 999 - 999 / (2 * TIMES), TIMES).tolist()
    contexts = [made.at(t, steps) for t in steps]
    keys, values = (
        torch.stack([getattr(one, part).float() for one in contexts]).mean(0) for part in ("keys", "values")
    )
    rank = _rank(pipeline)
    updates = {}
    for layer, name in enumerate(pipeline.cross_attentions):
        read = contexts[0].read_by(layer)
        for leaf, target in (("to_k", keys), ("to_v", values)):
            weight = pipeline.unet.get_submodule(f"{name}.{leaf}").get_parameter("weight").double()
            wanted = weight @ (target[read][after].double() - rows).T
            u, s, v = torch.svd_lowrank(wanted @ whitened.T, q=min(rank + 4, *weight.shape))
            size = s[:rank].sqrt()
            down = torch.linalg.solve_triangular(root.T, v[:, :rank], upper=True).T
            updates[f"{name}.{leaf}"] = Update((u[:, :rank] * size).float(), (size[:, None] * down).float())
    return updates


def _other_prompts(pipeline: NeTIPipeline) -> list[str]:
    """Ordinary sentences about words from all over the vocabulary, and the empty prompt."""
    vocabulary = sorted(pipeline.tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    words = [word.removesuffix("</w>") for word, _ in vocabulary if re.fullmatch(r"[a-z]{3,}</w>", word)]
    picked = words[:: max(1, len(words) // OTHER_WORDS)][:OTHER_WORDS]
    templates = TEMPLATES["object"]
    return ["", *(templates[i % len(templates)].format(word) for i, word in enumerate(picked))]


def _rank(pipeline: NeTIPipeline) -> int:
    shapes = [
        pipeline.unet.get_submodule(f"{name}.{leaf}").get_parameter("weight").shape
        for name in pipeline.cross_attentions
        for leaf in ("to_k", "to_v")
    ]
    each = 2 * sum(sum(shape) for shape in shapes)  # fp16
    names = 400 * len(shapes)
    return max(1, min(MAX_RANK, (MAX_BYTES - names) // each))


@contextmanager
def updated(unet: nn.Module, updates: Mapping[str, Update]) -> Iterator[None]:
    """Within the block the UNet's weights have the updates in them; afterwards they are bit for bit what they were."""
    before = {}
    try:
        for name, update in updates.items():
            weight = unet.get_submodule(name).get_parameter("weight")
            before[name] = weight.detach().clone()
            weight.data.add_((update.up @ update.down).to(weight))
        yield
    finally:
        for name, weight in before.items():
            unet.get_submodule(name).get_parameter("weight").data.copy_(weight)


@torch.no_grad()
def export_lora(pipeline: NeTIPipeline, token: str, folder: str | Path) -> dict[str, float]:
    """Write a loaded word as a LoRA in the layouts of `FILES`, and the vector that belongs to it.

    Args:
        pipeline: a pipeline that has loaded the word.
        token: the word.
        folder: the folder to write to.

    Returns:
        "kept", the share of what the word adds to its category that vector and LoRA keep; "vector", what the vector
        keeps alone; "others", by how much the LoRA changes the prediction for the category's prompt, relative to what
        that prompt adds to the empty one.

    Raises:
        ValueError: no such word is loaded.
        OSError: the folder is not writable.
    """
    concept, folder = pipeline.concept(token), Path(folder)
    vector = averaged_mapper(concept.mapper, per_layer=False).to(pipeline.device)
    updates = fit_updates(pipeline, token, vector)
    halved = {n: Update(u.up.half().float(), u.down.half().float()) for n, u in updates.items()}
    save_vector(token, vector, folder)
    for layout, name in FILES.items():
        tensors = lora_tensors(updates, layout, pipeline)
        with replacing(folder / name) as temporary:
            save_file(tensors, temporary, metadata={"format": "pt"})
    probe = Probe(pipeline, token)
    category = f"a photo of a {concept.category}"
    word, plain, single = (probe.predict(mapper) for mapper in (concept.mapper, probe.category, vector))
    other, empty = probe.predict(None, category), probe.predict(None, "")
    with updated(pipeline.unet, halved):
        made, changed = probe.predict(vector), probe.predict(None, category)
    whole = (plain - word).norm().clamp(min=1e-12)
    return {
        "kept": 1 - float((made - word).norm() / whole),
        "vector": 1 - float((single - word).norm() / whole),
        "others": float((changed - other).norm() / (other - empty).norm().clamp(min=1e-12)),
    }


def lora_tensors(updates: Mapping[str, Update], layout: str, pipeline: NeTIPipeline) -> dict[str, Tensor]:
    """The tensors of a file in one of the layouts of `FILES`, in fp16."""
    found: dict[str, Tensor] = {}
    for name, update in updates.items():
        down, up = update.down.half().cpu().contiguous(), update.up.half().cpu().contiguous()
        if layout == "diffusers":
            found |= {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
        else:
            own = f"lora_unet_{_kohya_name(name, pipeline)}"
            found |= {f"{own}.lora_down.weight": down, f"{own}.lora_up.weight": up}
            found[f"{own}.alpha"] = torch.tensor(float(len(down)))
    return found


def _kohya_name(name: str, pipeline: NeTIPipeline) -> str:
    """A projection's name in kohya's files: for Stable Diffusion XL that of the original code's blocks."""
    if pipeline.text_encoder_2 is not None:
        per: Any = int(pipeline.unet.config.layers_per_block) + 1
        stage, *rest = name.split(".")
        if stage == "mid_block":
            name = ".".join(["middle_block", "1", *rest[2:]])
        else:
            block, attention = int(rest[0]), int(rest[2])
            number = 1 + block * per + attention if stage == "down_blocks" else block * per + attention
            name = ".".join(
                ["input_blocks" if stage == "down_blocks" else "output_blocks", str(number), "1", *rest[3:]]
            )
    return name.replace(".", "_")
