"""`plug`: a learned word in any pipeline of diffusers that reads text, and how to take it out again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusers import DiffusionPipeline
from PIL import Image

from mappers.neti import Envelope

from .bypass_socket import BypassSocket
from .context_socket import ContextSocket
from .socket import PluggedWord, Socket

if TYPE_CHECKING:
    from ..personalization.concepts import Concept


def plug(
    pipe: DiffusionPipeline,
    concept: Concept,
    *,
    token: str | None = None,
    scale: float = 1.0,
    truncation: int | Envelope | None = None,
    region: Image.Image | None = None,
) -> Socket:
    """Make ``concept`` usable in prompts of ``pipe``; see `Concept.plug`.

    A pipeline has one socket: a second concept joins it.
    """
    there = getattr(pipe.__dict__.get("encode_prompt"), "__self__", None)
    socket = there if isinstance(there, Socket) else _kind(pipe)(pipe)
    socket.add(token or concept.token, PluggedWord(concept, scale, truncation, region))
    return socket


def _kind(pipe: DiffusionPipeline) -> type[Socket]:
    return ContextSocket if getattr(pipe, "transformer", None) is None else BypassSocket
