"""A trained category field with the codes of its objects, saved as a folder of safetensors and JSON."""

from __future__ import annotations

import dataclasses
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import max_pool3d

from mappers.embedding_cache import space_id
from mappers.files import replacing
from mappers.normalization import CodeName
from mappers.pixels import check_side

from ..cameras import Cameras, Rays
from ..fields.conditional import ConditionalConfig, ConditionalField
from ..rendering.compositing import Rendered, render_rays
from ..rendering.occupancy import OccupancyGrid
from ..rendering.renderer import Picture, render_picture
from ..rendering.sampling import Marching
from .codes import CodeDistribution
from .families import FAMILIES, Family
from .families.family import RADIUS

FORMAT = 1
WEIGHTS, CONFIG = "category.safetensors", "config.json"
ENCODER = "encoder"
"""Subfolder of a model's folder for its picture encoder; a model may have none."""
REMEDY = "train one with python -P -m nerf.conditional.train"
SHIPPED = Path(__file__).parents[1] / "nano"
"""Folder of the shipped models nano-chairs and nano-cars."""

RESOLUTION = 40
"""Cells along each side of an object's occupancy grid."""
OCCUPIED = 1.0
"""Density, per unit length, above which a cell counts as occupied."""
INTERVALS = 96
"""Number of sampling intervals along the diagonal of the box."""
REMEMBERED = 4
"""Number of shapes whose occupancy grids are kept in memory."""


class ConditionalModelError(ValueError):
    """A model's folder cannot be read; the message names the folder and the remedy."""


def located(model: str | Path) -> Path:
    """The folder of a model.

    Args:
        model: a folder, or the id ``nano-FAMILY`` of a model that ships with the package.

    Raises:
        FileNotFoundError: the folder or id does not exist, or the id's model is not part of this installation.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder.resolve()
    shipped = {f"nano-{name}": SHIPPED / f"nano-{name}" for name in FAMILIES}
    if str(model) not in shipped:
        raise FileNotFoundError(f"model {str(model)!r} is neither a folder nor one of {', '.join(shipped)}; {REMEDY}")
    if not (shipped[str(model)] / WEIGHTS).is_file():
        raise FileNotFoundError(f"the model {model} is not part of this installation; {REMEDY}")
    return shipped[str(model)]


class ConditionalModel:
    """A category field, the codes of its training objects, and the Gaussians of these codes.

    Args:
        field: the category's field.
        shape_codes: one code for each training shape.
        appearance_codes: one code for each training palette.
        family: name of the procedural family (`nerf.conditional.families.FAMILIES`).
        notes: JSON values about the training and its measured quality, such as ``steps`` and ``psnr_train`` (dB).
    """

    def __init__(
        self,
        field: ConditionalField,
        shape_codes: Float[Tensor, "n s"],
        appearance_codes: Float[Tensor, "m a"],
        family: str,
        notes: dict[str, Any] | None = None,
    ):
        self.field = field.eval().requires_grad_(False)
        self.shape_codes, self.appearance_codes = shape_codes.detach(), appearance_codes.detach()
        self.family_name, self.notes = family, notes or {}
        self._grids: dict[bytes, OccupancyGrid] = {}

    @property
    def family(self) -> Family:
        """The procedural family."""
        return FAMILIES[self.family_name]

    @property
    def marching(self) -> Marching:
        """Near and far distance and step length of the rays."""
        return Marching.through(self.field.bounds, INTERVALS, near=0.0, far=2 * RADIUS)

    @cached_property
    def shape_prior(self) -> CodeDistribution:
        """Gaussian of the shape codes."""
        return CodeDistribution(self.shape_codes)

    @cached_property
    def appearance_prior(self) -> CodeDistribution:
        """Gaussian of the appearance codes."""
        return CodeDistribution(self.appearance_codes)

    @cached_property
    def space(self) -> str:
        """Id of the code space, a hash of the field's weights; mappers, encoders and saved edits store it."""
        return space_id(self.field)

    @property
    def content(self) -> dict[str, Any]:
        """All that a training with the model depends on, by name."""
        return {"field": self.space, "shape_codes": self.shape_codes, "appearance_codes": self.appearance_codes}

    @property
    def sampled(self) -> bool:
        """Whether the instances are random samples, without an object of the family (objective "gan")."""
        return self.notes.get("objective") == "gan"

    def prior(self, name: CodeName) -> CodeDistribution:
        """Gaussian of the shape codes or of the appearance codes."""
        return self.shape_prior if name == "shape" else self.appearance_prior

    def sample(self, seed: int) -> tuple[Float[Tensor, " s"], Float[Tensor, " a"]]:
        """Shape and appearance code of a random object, drawn from the Gaussians with this seed."""
        generator = torch.Generator().manual_seed(seed)
        shape = self.shape_prior.sample(1, generator)[0]
        return shape, self.appearance_prior.sample(1, generator)[0]

    def mahalanobis(self, code: Float[Tensor, "*n c"], name: CodeName) -> Float[Tensor, "*n"]:
        """Mahalanobis distance of codes to the mean of their table, in standard deviations."""
        return self.prior(name).mahalanobis(code)

    def codes(self, instance: int) -> tuple[Float[Tensor, " s"], Float[Tensor, " a"]]:
        """Codes of training shape ``instance`` and of training palette ``instance`` modulo the number of palettes.

        Raises:
            ValueError: there is no training shape of this number.
        """
        if not 0 <= instance < len(self.shape_codes):
            raise ValueError(f"instance {instance} does not exist; there are 0..{len(self.shape_codes) - 1}")
        return self.shape_codes[instance], self.appearance_codes[instance % len(self.appearance_codes)]

    def camera(self, azimuth: float, elevation: float, size: int) -> Cameras:
        """A camera that looks at the middle of the object from the family's distance.

        Args:
            azimuth: degrees about the z axis; 0 is on the x axis.
            elevation: degrees above the horizon.
            size: width and height of the picture in pixels.

        Raises:
            ValueError: size is below 1.
        """
        check_side(size)
        angles = torch.deg2rad(torch.tensor([[azimuth], [elevation]]))
        return self.family.seen_from(angles[0], angles[1], size)

    @torch.no_grad()
    def grid(self, shape_code: Float[Tensor, " s"], resolution: int) -> OccupancyGrid:
        """Occupancy grid of a shape code: cells with a density above `OCCUPIED`, and their neighbours."""
        grid = OccupancyGrid(self.field.bounds, resolution)
        density = cell_density(self.field, shape_code.detach(), resolution)
        grid.density.copy_(density)
        grid.occupied.copy_(dilate(density > OCCUPIED))
        return grid

    def occupancy(self, shape_code: Float[Tensor, " s"]) -> OccupancyGrid:
        """The `grid` of a shape code with `RESOLUTION` cells a side; the last `REMEMBERED` grids stay in memory."""
        key = shape_code.detach().float().cpu().numpy().tobytes()
        if key not in self._grids:
            grid = self.grid(shape_code, RESOLUTION)
            while len(self._grids) >= REMEMBERED:
                self._grids.pop(next(iter(self._grids)))
            self._grids[key] = grid
        return self._grids[key]

    def render(
        self,
        shape_code: Float[Tensor, " s"],
        appearance_code: Float[Tensor, " a"],
        camera: Cameras,
        *,
        size: int | None = None,
        background: float = 1.0,
    ) -> Picture:
        """Render the object of two codes.

        Args:
            shape_code: its shape.
            appearance_code: its colours.
            camera: the view; of several cameras the first.
            size: width of the picture in pixels; None takes the camera's.
            background: grey level behind the object, in 0..1.

        Raises:
            ValueError: a code has the wrong width or is not finite, or the size is below 1.
        """
        if size is not None:
            check_side(size)
            camera = camera.scaled(camera.width / size)
        field = self.field.at(shape_code, appearance_code)
        grid = self.occupancy(shape_code)
        return render_picture(field, camera, self.marching, sampler=grid, background=background)

    def trace(
        self,
        shape_code: Float[Tensor, " s"],
        appearance_code: Float[Tensor, " a"],
        rays: Rays,
        background: Float[Tensor, "r 3"],
        jitter: Float[Tensor, " r"] | None = None,
        grid: OccupancyGrid | None = None,
    ) -> Rendered:
        """Colour and opacity of rays; differentiable in codes and rays.

        Args:
            shape_code: its shape.
            appearance_code: its colours.
            rays: origins and directions.
            background: RGB behind each ray, in 0..1.
            jitter: shift of each ray's intervals, in 0..1 of an interval.
            grid: occupied cells; None computes the shape's `occupancy`, which takes longer than rendering few rays.
        """
        where = Rays(rays.origins.detach(), rays.directions.detach(), rays.views.detach())
        samples = (self.occupancy(shape_code) if grid is None else grid).march(where, self.marching, jitter)
        return render_rays(self.field.at(shape_code, appearance_code), rays, samples, background)

    def save(self, folder: str | Path) -> None:
        """Write ``category.safetensors`` (half precision) and ``config.json``, each completely or not at all."""
        folder = Path(folder)
        tensors = {f"field.{name}": value for name, value in self.field.state_dict().items()}
        tensors |= {"shape_codes": self.shape_codes, "appearance_codes": self.appearance_codes}
        config = {
            "format": FORMAT,
            "family": self.family_name,
            "field": dataclasses.asdict(self.field.config),
            "notes": self.notes,
        }
        with replacing(folder / WEIGHTS) as temporary:
            save_file({name: value.half().contiguous() for name, value in tensors.items()}, temporary)
        with replacing(folder / CONFIG) as temporary:
            temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, model: str | Path) -> ConditionalModel:
        """Read what `save` wrote.

        Args:
            model: folder, or id of a shipped model (see `located`).

        Raises:
            FileNotFoundError: the folder, the id or one of the two files does not exist.
            ConditionalModelError: the folder holds another model, or its files are damaged.
        """
        folder = located(model)
        for name in (CONFIG, WEIGHTS):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder} holds no category field ({name} is missing); {REMEDY}")
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            if not isinstance(config, dict) or "family" not in config or "field" not in config:
                raise ConditionalModelError(f"{folder} holds another kind of model; {REMEDY}")
            if config["format"] != FORMAT:
                raise ConditionalModelError(f"{folder} has format {config['format']}, this program reads {FORMAT}")
            if config["family"] not in FAMILIES:
                known = ", ".join(FAMILIES)
                raise ConditionalModelError(
                    f"{folder} is of the unknown family {config['family']!r}; known are {known}"
                )
            tensors = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
            field = ConditionalField(FAMILIES[config["family"]].bounds, ConditionalConfig(**config["field"]))
            field.load_state_dict({k.removeprefix("field."): v for k, v in tensors.items() if k.startswith("field.")})
            codes = tensors["shape_codes"], tensors["appearance_codes"]
            sizes = field.config.shape_code, field.config.appearance_code
            if tuple(table.shape[1] for table in codes) != sizes or not all(
                v.isfinite().all() for v in tensors.values()
            ):
                raise ValueError("its numbers are not finite, or its codes have other sizes than the field's")
            return cls(field, *codes, config["family"], config.get("notes"))
        except ConditionalModelError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ConditionalModelError(
                f"{folder} is not a whole category field ({error}); restore or train it again"
            ) from error


def cell_density(
    field: ConditionalField, shape_code: Float[Tensor, " s"], resolution: int, chunk: int = 2**15
) -> Float[Tensor, "z y x"]:
    """Density, per unit length, at the centre of every cell of the field's box."""
    middle = (torch.arange(resolution) + 0.5) / resolution
    z, y, x = torch.meshgrid(middle, middle, middle, indexing="ij")
    unit = torch.stack([x, y, z], -1).view(-1, 3)
    low, high = field.bounds
    parts = [field.density(low + part * (high - low), shape_code.expand(len(part), -1)) for part in unit.split(chunk)]
    return torch.cat(parts).view((resolution,) * 3)


def dilate(cells: Tensor) -> Tensor:
    """Mark the 26 neighbours of true cells too, in grids [..., z, y, x]."""
    flat = cells.float().view(-1, 1, *cells.shape[-3:])
    return (max_pool3d(flat, 3, stride=1, padding=1) > 0).view(cells.shape)
