"""A learned concept as one file: ``concept.safetensors``, with its settings in the metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mappers.files import replacing
from mappers.hub import EMBEDDED
from mappers.mixing import MixedMapper
from mappers.registry import mapper_class, mapper_config, mapper_name

from ..plugging.fingerprint import Fingerprint

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from PIL import Image

    from mappers.neti import Envelope

    from ..plugging.socket import Socket

FORMAT = "mapfield-concept-1"


@dataclass
class Concept:
    """A word that a pipeline has learned."""

    token: str
    category: str
    mapper: nn.Module
    base: Fingerprint
    model: str = ""
    """Id of the base model, or its folder or file."""
    settings: dict[str, Any] = field(default_factory=dict)

    def plug(
        self,
        pipe: DiffusionPipeline,
        *,
        token: str | None = None,
        scale: float = 1.0,
        truncation: int | Envelope | None = None,
        region: Image.Image | None = None,
    ) -> Socket:
        """Make the word usable in prompts of ``pipe``, which may be any pipeline of the word's base model.

        Text to image, image to image, inpainting, ControlNet, PAG and AnimateDiff work, with LoRA and IP-Adapter
        loaded before or after it. ``socket.unplug()`` leaves the pipeline bit for bit as it was.

        Args:
            pipe: a pipeline of diffusers with a UNet and CLIP text encoders, or with a diffusion transformer such as
                that of Stable Diffusion 3 or FLUX. It keeps its class and all arguments.
            token: another name for the word, when its own is taken.
            scale: 1 is the word as it was learned, 0 the category word, and between them a mixture of both.
            truncation: units of the mapper that are kept, from 0 (most editable) to its hidden size; or an `Envelope`.
            region: where in the picture the word acts, in white, as large as the picture; None: everywhere.

        Raises:
            ValueError: ``pipe`` is of another model or of a kind that words do not plug into; the token is taken.
        """
        from ..plugging.plugging import plug

        return plug(pipe, self, token=token, scale=scale, truncation=truncation, region=region)

    def mix(
        self,
        other: Concept,
        *,
        layers: Iterable[int] | None = None,
        times: tuple[float, float] | None = None,
        token: str | None = None,
    ) -> Concept:
        """A word that is ``other`` in some layers or at some timesteps and this one elsewhere.

        The coarsest cross-attentions draw the geometry, the finest the appearance: with
        ``layers=pipeline.fine_layers()`` the shape is this one's and the appearance ``other``'s.

        Args:
            other: a concept of the same base model.
            layers: cross-attention layers, in execution order, that take ``other``; None: all.
            times: lowest and highest timestep (0..999) at which they do; None: all.
            token: the mixed word; None joins both names.

        Raises:
            ValueError: another base model, or ``layers`` and ``times`` leave nothing to mix.
        """
        difference = other.base.difference(self.base)
        if difference:
            raise ValueError(f"{other.token} cannot be mixed into {self.token}: it was learned on {difference}")
        mapper = MixedMapper.of(self.mapper, other.mapper, layers, times)
        token = token or f"<{self.token.strip('<>')}-{other.token.strip('<>')}>"
        return Concept(token, self.category, mapper, self.base, self.model, {"mixed": [self.token, other.token]})


def public_name(model: str) -> str:
    """What a shared file may say of a base model: an id as it is, and of a folder or file only its own name."""
    path = Path(model).expanduser()
    private = path.exists() or path.is_absolute() or model.startswith(".") or path.drive or model.count("/") > 1
    return path.name if private and model not in {embedded.id for embedded in EMBEDDED} else model


def _local_model(file: Path, model: str) -> str:
    """The place of a base model of which a concept has the name, if the report of its training is next to it."""
    from mappers.training.run_report import REPORT  # matplotlib takes a second to import

    try:
        noted = json.loads((file.parent / REPORT).read_text(encoding="utf-8"))["model"]
    except (OSError, ValueError, KeyError, TypeError):
        return model
    return noted if isinstance(noted, str) and Path(noted).exists() and public_name(noted) == model else model


def save_concept(concept: Concept, path: Path) -> Path:
    """Write ``concept`` to ``path``: under a temporary name first, so that no half file replaces a whole one.

    Of a base model in a folder the file holds the folder's name without its place.

    Raises:
        OSError: the folder is not writable or the disk is full.
    """
    settings = {
        "token": concept.token,
        "category": concept.category,
        "mapper": mapper_name(concept.mapper),
        "mapper_config": mapper_config(concept.mapper),
        "base": asdict(concept.base),
        "model": public_name(concept.model),
        "settings": concept.settings,
    }
    tensors: dict[str, Tensor] = {
        k: v.detach().float().cpu().contiguous() for k, v in concept.mapper.state_dict().items()
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"format": FORMAT, "concept": json.dumps(settings)})
    return Path(path)


def load_concept(path: Path) -> Concept:
    """Read a concept file; nothing in it is ever executed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or not a concept file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no concept file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("format") != FORMAT:
            raise ValueError(f"{path} is a safetensors file, but not a concept of mapfield ({FORMAT})")
        settings = json.loads(metadata["concept"])
        mapper = mapper_class(settings["mapper"])(**settings["mapper_config"])
        mapper.load_state_dict(tensors)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is truncated or not a safetensors file ({error}); copy it again, or learn the concept anew"
        ) from error
    except (KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} does not fit its own description ({error}); learn the concept anew") from error
    if not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise ValueError(f"{path} holds numbers that are not finite; learn the concept anew")
    return Concept(
        settings["token"],
        settings["category"],
        mapper.eval().requires_grad_(False),
        Fingerprint(**settings["base"]),
        _local_model(path, settings["model"]),
        settings["settings"],
    )
