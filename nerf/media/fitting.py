"""Fit a field to a picture or a video: one task for the shared trainer, and ``nerf.fit_media``."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import PartialState
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor, nn

from mappers.files import replacing
from mappers.options import RunLength, declared_by
from mappers.pixels import to_bytes
from mappers.quality import psnr, psnr_of
from mappers.training.draws import Draws
from mappers.training.run_folder import run_folder
from mappers.training.run_report import write_run_report
from mappers.training.trainer import FitReport, fit

from ..evaluation import WINDOW, error_map, picture_of, ssim
from ..export import write_film
from ..fields import FieldError, read_field, save_field
from ..fields.quantized import Quantized
from ..options import FitOptions
from ..runs import FIELD
from ..settings import FitConfig, fit_settings
from .fields import (
    MEDIA_FIELDS,
    MODULATIONS,
    PICTURE_SIZES,
    VIDEO_SIZES,
    MediaField,
    PictureConfig,
    PictureField,
    VideoConfig,
    VideoField,
)
from .reading import FrameSequence, read_media

CHUNK = 2**15
"""Pixels that are evaluated at a time when a picture is drawn."""
VALIDATION_FRAMES = 4
"""Frames of a video that are measured at a validation."""


@dataclass
class Fit:
    """A fitted field, the trainer's report, and measurements."""

    field: MediaField
    report: FitReport
    figures: dict[str, float | int]


class FitTask:
    """Squared error of pixels of a picture, or of whole frames of a video."""

    def __init__(self, media: FrameSequence, field: MediaField, config: FitConfig):
        self.media, self.field, self.config = media, field, config
        self.quantized = Quantized(field, config.bits) if config.bits else None
        self.modules: Mapping[str, nn.Module] = {"field": self.quantized or field}
        prefix = "field.field" if self.quantized else "field"
        self.rates = {f"{prefix}.modulation": config.grid_rate}
        self.seen = training_pixels(media, config.every_second)
        if media.video:
            self.places = normalized_times(media)
            self.values = media.frames
        else:
            self.places = unit_pixel_centers(*media.size)[self.seen.flatten()]
            self.values = media.frames[0].flatten(0, 1)[self.seen.flatten()]

    def batch(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Coordinates (y, x) of random pixels, or times of random frames, and their colours.

        Stratified: each draw is from its own part of the list; a batch as large as the list holds every entry once.
        """
        total, count = self.config.train.batch_size, len(self.places)
        u = draws.rows("places", total, 1)[:, 0].double().cpu()
        index = ((torch.tensor(draws.indices) + u) * count / total).long().clamp(max=count - 1)
        return self.places[index].to(draws.device), self.values[index].to(draws.device).float() / 255

    def loss(self, modules: Mapping[str, Callable[..., Any]], batch: Any, draws: Draws) -> dict[str, Tensor]:
        places, target = batch
        squared = (modules["field"](places).float() - target).square().mean()
        return {"loss": squared, "psnr": psnr_of(squared.detach())}

    def validate(self, modules: Mapping[str, Callable[..., Any]], step: int) -> dict[str, float | Image.Image]:
        """Mean PSNR in dB of the picture or of a few frames, and the first one next to the original."""
        if self.quantized:
            with self.quantized.inside():
                return self._measured()
        return self._measured()

    def _measured(self) -> dict[str, float | Image.Image]:
        count = len(self.media.frames)
        chosen = torch.linspace(0, count - 1, min(VALIDATION_FRAMES, count)).round().long().tolist()
        drawn = [draw(self.field, self.media, number) for number in chosen]
        truths = [self.media.frames[number].float() / 255 for number in chosen]
        mean = sum(map(psnr, drawn, truths)) / len(drawn)
        return {"psnr": mean, "view": picture_of(torch.cat([drawn[0], truths[0]], 1))}


def unit_pixel_centers(height: int, width: int) -> Float[Tensor, "p 2"]:
    """Centres (y, x) of all pixels in 0..1, row by row."""
    return torch.cartesian_prod((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width)


def normalized_times(media: FrameSequence) -> Float[Tensor, " n"]:
    """Times of the frames from 0 (first) to 1 (last)."""
    times = torch.tensor(media.times, dtype=torch.float64)
    return ((times - times[0]) / (times[-1] - times[0])).float()


def training_pixels(media: FrameSequence, every_second: bool) -> Bool[Tensor, "h w"]:
    """Mask of the pixels that are trained on: all, or every second one along both axes.

    Raises:
        ValueError: ``every_second`` is set for a video, which is trained on whole frames.
    """
    if every_second and media.video:
        raise ValueError("every_second is for pictures; a video is learned from whole frames")
    seen = torch.zeros(media.size, dtype=torch.bool)
    step = 2 if every_second else 1
    seen[::step, ::step] = True
    return seen


def draw(field: MediaField, media: FrameSequence, number: int) -> Float[Tensor, "h w 3"]:
    """A frame as rendered from the field, on the CPU."""
    if isinstance(field, VideoField):
        return draw_frames(field, normalized_times(media)[number : number + 1])[0]
    return draw_picture(field, *media.size)


@torch.no_grad()
def draw_frames(field: VideoField, times: Float[Tensor, " n"]) -> list[Float[Tensor, "h w 3"]]:
    """Frames at times in 0..1, one by one, on the CPU."""
    device = next(field.parameters()).device
    return [field(time.to(device))[0].float().cpu() for time in times.split(1)]


@torch.no_grad()
def draw_picture(field: PictureField, height: int, width: int) -> Float[Tensor, "h w 3"]:
    """A picture of any size, on the CPU."""
    device = next(field.parameters()).device
    parts = [field(places.to(device)).float().cpu() for places in unit_pixel_centers(height, width).split(CHUNK)]
    return torch.cat(parts).view(height, width, 3)


def build_media_field(name: str, media: FrameSequence, size: str | Any = "small", *, seed: int = 0) -> MediaField:
    """A field with new random weights.

    Args:
        name: "cam", "normed" or "plain".
        media: the picture or video that it will be fitted to.
        size: a named size, or a configuration.
        seed: of the weights.

    Raises:
        FieldError: no such name or size; the message lists what exists.
    """
    if name not in MODULATIONS:
        raise FieldError(f"unknown field {name!r} of pictures and videos; known are {', '.join(MODULATIONS)}")
    if isinstance(size, str):
        sizes = VIDEO_SIZES if media.video else PICTURE_SIZES
        if size not in sizes:
            raise FieldError(f"a field of pictures and videos has no size {size!r}; known are {', '.join(sizes)}")
        if media.video:
            height, width = media.size
            size = VideoConfig(height=height, width=width, modulation=name, **sizes[size])
        else:
            size = PictureConfig(modulation=name, **sizes[size])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VideoField(size) if isinstance(size, VideoConfig) else PictureField(size)


@declared_by(FitOptions, RunLength)
def fit_media(
    media: FrameSequence | str | Path,
    field: str = "cam",
    *,
    size: str | Any = "small",
    steps: int | None = None,
    max_minutes: float | None = None,
    seed: int = 0,
    output_dir: str | Path | None = None,
    resume: bool | Literal["auto"] = False,
    overwrite: bool = False,
    config: FitConfig | None = None,
) -> Fit:
    """Fit a field to a picture or a video.

    ``media`` may also be what `read_media` returned, and ``size`` a `PictureConfig` or `VideoConfig`.

    Args:
        config: all further settings; None takes the defaults for pictures or for videos.

    Returns:
        The field and its figures: psnr in dB and ssim (means over frames), with ``every_second`` psnr_unseen of the
        pixels left out, parameters and processor_seconds.

    Raises:
        FileNotFoundError, ValueError: the media, field or size cannot be used; the message says why.
        FileExistsError: the output folder has files in it, and neither ``resume`` nor ``overwrite`` is set.
        TrainingError: training cannot continue; checkpoints are kept.
    """
    started = time.process_time()
    output = run_folder(output_dir, resume=resume, overwrite=overwrite)
    media = media if isinstance(media, FrameSequence) else read_media(media)
    config = config or fit_settings(video=media.video)
    config = dataclasses.replace(
        config, train=config.train.with_overrides(steps=steps, max_minutes=max_minutes, seed=seed)
    )
    built = build_media_field(field, media, size, seed=seed)
    task = FitTask(media, built, config)
    seen = {"frames": media.frames, "times": media.times, "video": media.video}
    inputs = {"media": seen, "field": built.name, "size": built.config, "settings": config}
    report = fit(task, config.train, output_dir=output, resume=resume, inputs=inputs)
    if task.quantized:
        task.quantized.round()
    drawn = [draw(built, media, number) for number in range(len(media.frames))]
    result = Fit(built, report, measure(drawn, media, task.seen))
    result.figures["parameters"] = sum(value.numel() for value in built.parameters())
    result.figures["processor_seconds"] = round(time.process_time() - started, 2)
    if output and PartialState().is_main_process:
        _save(result, media, drawn, output, config)
    return result


def load_media_field(path: Path) -> MediaField:
    """Read a ``field.safetensors`` of `fit_media`.

    Raises:
        FileNotFoundError, FieldError: there is no such file, or it is not a field of a picture or video.
    """
    return read_field(path, restore_media_field)


def restore_media_field(name: str, config: dict[str, Any], state: dict[str, Tensor]) -> MediaField:
    """A field from its name ("picture", "video"), its configuration as a dictionary, and its tensors.

    Raises:
        FieldError: it is of another kind.
        TypeError, ValueError, RuntimeError: configuration and tensors are not those of a field.
    """
    if name not in MEDIA_FIELDS:
        raise FieldError(f"{name!r} is no field of pictures or videos; those are {', '.join(MEDIA_FIELDS)}")
    kind, sizes = MEDIA_FIELDS[name]
    field = kind(sizes(**config))
    field.load_state_dict(state)
    return field


def measure(
    drawn: list[Float[Tensor, "h w 3"]], media: FrameSequence, seen: Bool[Tensor, "h w"] | None = None
) -> dict[str, float | int]:
    """Means over the frames of psnr in dB and ssim, and psnr_unseen where some pixels were not learned from."""
    truths = [frame.float() / 255 for frame in media.frames]
    pairs = list(zip(drawn, truths, strict=True))
    figures: dict[str, float | int] = {"psnr": sum(psnr(a, b) for a, b in pairs) / len(pairs)}
    if seen is not None and not seen.all():
        figures["psnr_unseen"] = psnr(drawn[0][~seen][None], truths[0][~seen][None])
    if min(media.size) >= WINDOW:
        figures["ssim"] = sum(ssim(a, b) for a, b in pairs) / len(pairs)
    return figures


def _save(
    result: Fit, media: FrameSequence, drawn: list[Float[Tensor, "h w 3"]], folder: Path, config: FitConfig
) -> None:
    """Field, picture or film, error map (of a video's worst frame), loss plot and report, each written whole."""
    save_field(result.field, folder / FIELD)
    truths = [frame.float() / 255 for frame in media.frames]
    worst = min(range(len(drawn)), key=lambda number: psnr(drawn[number], truths[number]))
    pictures = {"error": picture_of(error_map(drawn[worst], truths[worst]))}
    if media.video:
        frames = [to_bytes(frame).numpy() for frame in drawn]
        write_film(frames, folder / "video.mp4", fps=media.fps)
    else:
        pictures["picture"] = picture_of(drawn[0])
    for name, picture in pictures.items():
        with replacing(folder / f"{name}.png") as temporary:
            picture.save(temporary)
    contents = {
        "media": media.name,
        "frames": len(media.frames),
        "size": list(media.size),
        "fps": media.fps,
        "times": normalized_times(media).tolist() if media.video else [0.0],
        "field": result.field.name,
        "figures": result.figures,
        "sizes": dataclasses.asdict(result.field.config),
    }
    write_run_report(folder, result.report, contents, settings=config)
