"""Learned words for programs that know no mappers: one vector per layer (XTI), or one vector (textual inversion).

Each vector is a mean of the mapper's output. `fidelity` measures with the model itself what is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from mappers.files import replacing
from mappers.neti import TextualInversionMapper

from .attention import context_attention
from .pipeline import NeTIPipeline

FILES = {
    "xti": "xti.safetensors",
    "diffusers": "learned_embeds.safetensors",
    "a1111": "a1111.safetensors",
    "sdxl": "sdxl.safetensors",
}
"""Layouts and their files: "xti" has a tensor for each cross-attention by its name in diffusers' UNet; "diffusers" is
what `load_textual_inversion` reads; "a1111" what AUTOMATIC1111's web interface and ComfyUI read. For Stable Diffusion
XL "sdxl" replaces the latter two: a vector for each text encoder, clip_l and clip_g."""


@torch.no_grad()
def averaged_mapper(mapper: nn.Module, *, per_layer: bool, points: int = 50) -> TextualInversionMapper:
    """The mean of a mapper's input embeddings over timesteps, and unless ``per_layer`` over layers.

    Directions that differ cancel, so the mean is scaled to the mean length. The bypass is lost.

    Args:
        mapper: any mapper of words.
        per_layer: one vector for each layer.
        points: timesteps, evenly spaced.
    """
    layers, widths = mapper.layers, mapper.widths
    times = torch.linspace(0, 999, points, device=next(mapper.parameters()).device)
    rows = times.repeat_interleave(layers), torch.arange(layers, device=times.device).repeat(points)
    embedding = mapper(*rows).embedding.float().unflatten(0, (points, layers))
    over = (0,) if per_layer else (0, 1)
    heads, norms = [], []
    for head in embedding.split(widths, dim=-1):
        mean, length = head.mean(over), head.norm(dim=-1).mean(over)
        heads.append(mean * (length / mean.norm(dim=-1))[..., None])
        norms.append(float(head.norm(dim=-1).mean()))
    small = TextualInversionMapper(layers, widths, norms, per_layer=per_layer)
    small.vectors.copy_(torch.cat(heads, dim=-1))
    return small.eval().requires_grad_(False)


def export_concept(pipeline: NeTIPipeline, token: str, folder: str | Path) -> dict[str, float]:
    """Write a loaded word in the layouts of `FILES`.

    Args:
        pipeline: a pipeline that has loaded the word.
        token: the word.
        folder: the folder to write to.

    Returns:
        The `fidelity` of each layout that was written.

    Raises:
        ValueError: no such word is loaded.
        OSError: the folder is not writable.
    """
    mapper, folder = pipeline.concept(token).mapper, Path(folder)
    layered, single = (averaged_mapper(mapper, per_layer=flag) for flag in (True, False))
    vector, by_layer = single.vectors.cpu(), layered.vectors.cpu()
    if len(by_layer) < pipeline.layers:
        by_layer = by_layer[list(pipeline.blocks)]
    layouts = {"xti": dict(zip(pipeline.cross_attentions, by_layer.unbind(), strict=True))}
    if len(mapper.widths) > 1:
        # SDXL embeddings have one layout everywhere, and diffusers is handed its parts one by one.
        clip_l, clip_g = vector.split(mapper.widths, dim=-1)
        layouts["sdxl"] = {"clip_l": clip_l, "clip_g": clip_g}
    else:
        layouts |= {"diffusers": {token: vector[0]}, "a1111": {"emb_params": vector}}
    for layout, tensors in layouts.items():
        with replacing(folder / FILES[layout]) as temporary:
            save_file(
                {name: value.clone().contiguous() for name, value in tensors.items()},
                temporary,
                metadata={"format": "pt"},
            )
    kept = fidelity(pipeline, token, {"xti": layered, "single": single})
    return {layout: kept["xti" if layout == "xti" else "single"] for layout in layouts}


@torch.no_grad()
def fidelity(
    pipeline: NeTIPipeline, token: str, mappers: Mapping[str, nn.Module], *, levels: int = 10, seed: int = 0
) -> dict[str, float]:
    """How much of a word another mapper keeps: 1 is all, 0 is no more than the category word.

    Noise is added to a picture of the word, and the model predicts with the word, with each mapper and with the
    category word. The result is 1 - |with mapper - with word| / |with category - with word|, over all noise levels. It
    may be negative.

    Args:
        pipeline: a pipeline that has loaded the word.
        token: the word.
        mappers: mappers in the word's place, by any name.
        levels: timesteps, evenly spaced.
        seed: of the picture and the noise.
    """
    prompt, concept = f"a photo of a {token}", pipeline.concept(token)
    parts = pipeline.text.category_embedding(concept.category)
    category = TextualInversionMapper(
        concept.mapper.layers, [len(part) for part in parts], [float(part.norm()) for part in parts]
    )
    category.start_at(torch.cat(parts))
    generator = torch.Generator().manual_seed(seed)
    clean = pipeline(prompt, num_inference_steps=25, generator=generator, output_type="latent").images
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    alphas = pipeline.scheduler.alphas_cumprod
    times = [len(alphas) * (2 * level + 1) // (2 * levels) for level in range(levels)]
    predictions = []
    for stand_in in (concept.mapper, category, *mappers.values()):
        pipeline.concepts[token] = replace(concept, mapper=stand_in.to(pipeline.device))
        try:
            table = pipeline.contexts([prompt])
        finally:
            pipeline.concepts[token] = concept
        rows = []
        with context_attention(pipeline.unet):
            for t in times:
                noisy, contexts = alphas[t].sqrt() * clean + (1 - alphas[t]).sqrt() * noise, table.at(float(t), times)
                rows.append(pipeline.predict(noisy, t, contexts))
        predictions.append(torch.cat(rows).float())
    word, plain, *others = predictions
    whole = (plain - word).norm().clamp(min=1e-12)
    return {name: 1 - float((other - word).norm() / whole) for name, other in zip(mappers, others, strict=True)}
