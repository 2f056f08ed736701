"""What edits of a category model change: ``python -m benchmarks.editing.edits nano-chairs [--judge FOLDER]``.

Measured for one model: whether appearance codes change density; how much of the codes' variance the family's parameters
explain; how much shape codes change colours; PSNR of held-out pairs and of held-out objects that are inverted; seconds;
and what edits change. Attributes are read off renders by `benchmarks.editing.attributes`, which was trained without
CLIP. R-precision is the share of edits whose prompt another CLIP (``--judge``) finds among twenty. The methods of
editing are compared with no edit, a random displacement, the nearest instance of the caption library, and the truth.
"""

from __future__ import annotations

import math
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import tyro
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.common.results import IMAGES, Results, Row, Table, result_path
from benchmarks.editing.attributes import SIZE, Attributes, Reader, lab, pictures_of
from benchmarks.editing.inversion import Codes, inversions
from benchmarks.editing.prompts import TWENTY, Edit, Prompt, Truth, color_of, prompts_of
from mappers.code_mapper import CodeEditor, CodeMapper
from mappers.command_line import run_script
from nerf.cameras import Cameras
from nerf.conditional import ConditionalModel
from nerf.conditional.clip.scorer import Scorer
from nerf.conditional.decoder.task import measured
from nerf.conditional.families.splits import split_of
from nerf.conditional.inversion.inversion import InversionConfig
from nerf.conditional.mapping.caption_library import build_library
from nerf.conditional.mapping.code_optimization import OptimizerConfig, PromptOptimizer
from nerf.conditional.settings import CategoryConfig
from nerf.conditional.views import View, turntable_views
from pipelines import edit_nerf
from pipelines.editing.editor import Editor

OUTPUT = result_path(__file__)
SAME = 0.01
"""Farthest that two shapes' surface points may lie apart to count as shared, and their true colours may differ."""
TOLERANCE = 0.5
"""Standard deviations that an attribute may move without being named."""


def density(model: ConditionalModel, points: int = 100_000) -> dict[str, Any]:
    """Whether another appearance code leaves density and opacity equal to the bit."""
    low, high = model.field.bounds
    where = low + torch.rand(points, 3, generator=torch.Generator().manual_seed(0)) * (high - low)
    shape = model.shape_codes[0]
    fields = [model.field.at(shape, code) for code in model.appearance_codes[:2]]
    with torch.no_grad():
        equal = torch.equal(*(field.features(where)[:, 0] for field in fields))
    camera = View(size=SIZE).camera(model)
    drawn = [model.render(shape, code, camera).opacity for code in model.appearance_codes[:2]]
    return {"density_identical": equal, "opacity_identical": torch.equal(*drawn)}


def coordinates(model: ConditionalModel) -> dict[str, float]:
    """How much of the codes' variance straight maps of the family's parameters explain, in codes they were not fitted
    to: R², for each kind of code."""
    split = split_of(model.family, len(model.shape_codes), len(model.appearance_codes))
    found = {}
    tables = (("shape", split.shapes, model.shape_codes), ("appearance", split.palettes, model.appearance_codes))
    for kind, parameters, codes in tables:
        inputs, codes = torch.cat([parameters, torch.ones(len(parameters), 1)], 1).double(), codes.double()
        fitted = len(codes) * 3 // 4
        straight = torch.linalg.lstsq(inputs[:fitted], codes[:fitted]).solution
        missed = (codes[fitted:] - inputs[fitted:] @ straight).square().sum()
        found[kind] = float(1 - missed / (codes[fitted:] - codes[:fitted].mean(0)).square().sum())
    return found


@torch.no_grad()
def leak(model: ConditionalModel, pairs: int) -> dict[str, float]:
    """Mean change of colour between two shape codes, at surface points that both shapes really share."""
    family = model.family
    split = split_of(family, len(model.shape_codes), len(model.appearance_codes))
    generator, found = torch.Generator().manual_seed(3), []
    for _ in range(pairs):
        i, j = torch.randperm(len(model.shape_codes), generator=generator)[:2].tolist()
        palette = int(torch.randint(len(model.appearance_codes), (), generator=generator))
        camera = family.cameras(1, 96, generator)
        one, other = (
            family.surface(split.shapes[k : k + 1], split.palettes[palette : palette + 1], camera) for k in (i, j)
        )
        both, a, b = intersection(one.pixel, other.pixel)
        near = (one.points[a] - other.points[b]).norm(dim=-1) < SAME
        near &= (one.rgb[a] - other.rgb[b]).abs().amax(-1) < SAME
        if not len(both) or not bool(near.any()):
            continue
        points, views = one.points[a][near], one.views[a][near]
        colors = [
            model.field(points, views, model.shape_codes[k].expand(len(points), -1),
                        model.appearance_codes[palette].expand(len(points), -1))[1]
            for k in (i, j)
        ]  # fmt: skip
        found.append((colors[0] - colors[1]).abs().mean())
    return {"leak": float(torch.stack(found).mean()) if found else math.nan, "pairs": len(found)}


def intersection(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values in both, and where each is in ``a`` and in ``b``; each holds a value once."""
    both = a[torch.isin(a, b)]
    order_a, order_b = a.argsort(), b.argsort()
    return both, order_a[torch.searchsorted(a[order_a], both)], order_b[torch.searchsorted(b[order_b], both)]


class Edits:
    """Every prompt applied to every object by a method, and what it changes.

    Args:
        model: of the category.
        reader: of attributes.
        objects: codes of held-out objects.
        judge: another CLIP than the mapper's; None leaves R-precision out.
    """

    def __init__(self, model: ConditionalModel, reader: Reader, objects: list[Codes], judge: Scorer | None):
        self.model, self.reader, self.objects, self.judge = model, reader, objects, judge
        self.family = model.family
        self.prompts = prompts_of(self.family)
        self.columns = [*reader.trait_names, *self.family.parts]
        self.truth = Truth(self.family, len(objects), (len(model.shape_codes), len(model.appearance_codes)))
        palettes = lab(self.family.palettes(512, 3)[:, : 3 * len(self.family.parts)].view(512, -1, 3))
        self.color_std = palettes.std(0).norm(dim=-1)
        generator = torch.Generator().manual_seed(23)
        self.twenty = torch.randperm(len(self.prompts), generator=generator)[:TWENTY].tolist()
        self.captions = list(self.truth.captions)

    def drawn(self, method: Callable[[str, Codes], Codes]) -> Edit:
        """What a method that edits codes does to pictures."""
        return lambda text, number, cameras: pictures_of(self.model, cameras, *method(text, self.objects[number]))

    def pictures(self, edit: Edit, text: str, cameras: Sequence[Cameras]) -> Float[Tensor, "n v h w 3"]:
        """All objects after a text."""
        return torch.stack([edit(text, number, cameras) for number in range(len(self.objects))])

    def measure(self, edit: Edit, before: Edit, few: int | None = None) -> dict[str, Any]:
        """Attribution, signs and R-precision of a method.

        Args:
            edit: the method.
            before: what draws the objects as they were.
            few: prompts that are tried, and captions; None takes all.
        """
        cameras = self.reader.cameras
        chosen = range(len(self.prompts)) if few is None else self.twenty[:few]
        unchanged = self.reader.read(self.pictures(before, "", cameras))
        drawn = {self.prompts[i].text: self.pictures(edit, self.prompts[i].text, cameras) for i in chosen}
        of_captions = {text: self.pictures(edit, text, cameras[:1]) for text in self.captions[:few]}
        matrix = torch.zeros(len(self.columns), len(self.columns))
        counts, signs, kept = torch.zeros(len(self.columns)), [], []
        for prompt in (self.prompts[i] for i in chosen):
            changes, right, unnamed = self._changes(unchanged, self.reader.read(drawn[prompt.text]), prompt)
            row = self.columns.index(prompt.name)
            matrix[row] += changes
            counts[row] += 1
            signs.append(right)
            kept.append(unnamed)
        seen = counts > 0
        matrix = matrix[seen] / counts[seen, None]
        own = torch.eye(len(self.columns), dtype=torch.bool)[seen]
        diagonal, others = float(matrix[own].mean()), float(matrix[~own].abs().mean())
        result = {
            "diagonal": diagonal, "off_diagonal": others, "ratio": diagonal / max(others, 1e-6),
            "right_sign": sum(signs) / len(signs), "unnamed_kept": sum(kept) / len(kept),
            "r_precision": self._found(drawn, [self.prompts[i].text for i in self.twenty]),
            "r_precision_captions": self._found(of_captions, self.captions),
        }  # fmt: skip
        rows = [name for name, there in zip(self.columns, seen.tolist(), strict=True) if there]
        cells = [dict(zip(self.columns, row.tolist(), strict=True)) for row in matrix]
        return result | {"matrix": dict(zip(rows, cells, strict=True))}

    def _changes(
        self, before: Attributes, after: Attributes, prompt: Prompt
    ) -> tuple[Float[Tensor, " c"], float, float]:
        """Mean change of every attribute, the named one's towards what was asked; the share of right signs; the share
        of what was not named that moved by at most `TOLERANCE`."""
        moved = after.traits - before.traits
        colors = (after.colors - before.colors).norm(dim=-1) / self.color_std
        changes = torch.cat([moved.abs(), colors], 1)
        row, named = changes.mean(0), self.columns.index(prompt.name)
        if prompt.name in self.reader.trait_names:
            towards = prompt.value * moved[:, self.reader.trait_names.index(prompt.name)]
        else:
            part = self.family.parts.index(prompt.name)
            wanted = lab(color_of(self.family, prompt))
            nearer = [(seen.colors[:, part] - wanted).norm(dim=-1) for seen in (before, after)]
            towards = (nearer[0] - nearer[1]) / self.color_std[part]
        row[named] = towards.mean()
        unnamed = changes[:, torch.arange(len(self.columns)) != named]
        return row, float((towards > 0).float().mean()), float((unnamed <= TOLERANCE).float().mean())

    def _found(self, drawn: Mapping[str, Float[Tensor, "n v h w 3"]], texts: list[str]) -> float | None:
        """How often the judge finds the text among all of ``texts`` by the first picture, where texts are about."""
        if self.judge is None:
            return None
        known, hits = self.judge.embed_texts(texts), []
        for right, text in enumerate(texts):
            if text in drawn:
                hits.append((self.judge.embed_images(drawn[text][:, 0]) @ known.T).argmax(1) == right)
        return float(torch.cat(hits).float().mean())


def methods_of(model: ConditionalModel, editor: Editor, steps: int) -> dict[str, Callable[[str, Codes], Codes]]:
    """Rows of the table: what editing has to beat, the closed form, the trained mapper, and optimisation."""
    scorer = editor.scorer
    known = build_library(model, scorer, 512, pictures=0.0)
    generator = torch.Generator().manual_seed(29)

    def by(mapper: CodeEditor) -> Callable[[str, Codes], Codes]:
        def edit(prompt: str, codes: Codes) -> Codes:
            moved = mapper.edit(scorer.embed_texts([prompt]), codes[0][None], codes[1][None])
            return moved[0][0].detach(), moved[1][0].detach()

        return edit

    def random(prompt: str, codes: Codes) -> Codes:
        del prompt
        return tuple(
            code + model.prior(kind).factor @ torch.randn(len(code), generator=generator)
            for kind, code in zip(("shape", "appearance"), codes, strict=True)
        )  # pyright: ignore[reportReturnType]

    def nearest(prompt: str, codes: Codes) -> Codes:
        del codes
        row = int((known.embedding @ scorer.embed_texts([prompt])[0]).argmax())
        return model.shape_codes[known.shape[row]], model.appearance_codes[known.palette[row]]

    found = {"no edit": lambda prompt, codes: codes, "random displacement": random, "nearest instance": nearest}
    found["ridge"] = by(edit_nerf(editor.name, clip=scorer.name, method="ridge").mapper)
    if isinstance(editor.mapper, CodeMapper):
        found["mapper"] = by(editor.mapper)
    found["optimisation"] = by(PromptOptimizer(model, scorer, OptimizerConfig(steps=steps)))
    return found


def speed(editor: Editor, steps: int) -> dict[str, float]:
    """Seconds, the program's start excluded; every figure of a fresh object, so that nothing is remembered."""

    def timed(work: Callable[[], Any]) -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    prompt = "a tall red " + editor.model.family.name.removesuffix("s")
    first = timed(lambda: editor.instance(1).apply(prompt).render(View(size=128)))
    again = timed(lambda: editor.instance(2).apply(prompt).render(View(size=128)))
    preview = timed(lambda: editor.instance(3).render(View(size=64)))
    circle = turntable_views(12, 64)
    turntable = timed(lambda: [editor.render(view, original=side) for side in (True, False) for view in circle])
    mapping = timed(lambda: editor.instance(4).apply(prompt))
    slow = PromptOptimizer(editor.model, editor.scorer, OptimizerConfig(steps=steps))
    codes = [code[None] for code in editor.codes]
    optimising = timed(lambda: slow.edit(editor.scorer.embed_texts([prompt]), codes[0], codes[1]))
    return {
        "first_edit_and_picture": first, "edit_and_picture": again, "preview_64": preview, "turntable_24": turntable,
        "edit": mapping, "optimisation": optimising, "times_faster": optimising / mapping,
        "threads": torch.get_num_threads(),
    }  # fmt: skip


SHOWN = {
    "chairs": (
        "a red chair", "a chair with a blue seat", "a tall chair", "a wide chair", "a chair with arms",
        "a chair with a short back", "a tall red chair",
    ),
    "cars": (
        "a red car", "a car with a blue cabin", "a long car", "a tall car", "a narrow car", "a car with a low cabin",
        "a long yellow car",
    ),
}  # fmt: skip
"""Texts of the picture."""


def sheet(editor: Editor, path: Path) -> None:
    """Three objects, and each after every text."""
    texts = SHOWN[editor.model.family_name]
    figure = Figure(figsize=(1.5 * (1 + len(texts)), 4.9), layout="constrained")
    axes = figure.subplots(3, 1 + len(texts))
    for text, cell in zip((None, *texts), axes[0], strict=True):
        cell.set_title(textwrap.fill(text or "as it was", 14), fontsize=8)
    for number, row in zip((12, 40, 77), axes, strict=True):
        for text, cell in zip((None, *texts), row, strict=True):
            editor.instance(number)
            if text:
                editor.apply(text)
            cell.imshow(editor.render(View(size=128)))
            cell.set_axis_off()
    figure.savefig(path, dpi=90)


def main(model: tyro.conf.Positional[str], /, *, clip: str | None = None, judge: str | None = None, objects: int = 16,
         pictures: int = 64, reader_steps: int = 1500, steps: int = 100, optimised: int = 8, prompts: int | None = None,
         threads: int = 2, pictures_only: bool = False, output: Path = OUTPUT,
         images: Path = IMAGES / "editing") -> None:  # fmt: skip
    """Measure what edits of a category model change.

    Args:
        model: nano-chairs, nano-cars, or a folder.
        clip: CLIP of prompts; the one that the mapper was trained with when not given.
        judge: Another CLIP, of another seed and architecture, for R-precision.
        objects: Held-out objects that are inverted and edited.
        pictures: Pictures of each kind for reconstruction.
        reader_steps: Training steps of the attribute reader.
        steps: Steps of per-prompt optimization.
        optimised: Prompts that optimization is tried on.
        prompts: Prompts that the other methods are tried on; all when not given.
        threads: Threads of PyTorch.
        pictures_only: Draw the picture of some edits and measure nothing.
        output: Results.
        images: Folder of the picture.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    scorer = Scorer.load(judge) if judge else None
    editor = edit_nerf(model, clip=clip)
    category = editor.model
    sheet(editor, images / f"edits_{category.family_name}.png")
    if pictures_only:
        return
    results, family = Results(output), category.family_name
    results.row(f"{family}: notes", lambda: category.notes)
    results.row(f"{family}: density", lambda: density(category))
    results.row(f"{family}: coordinates", lambda: coordinates(category))
    results.row(f"{family}: leak", lambda: leak(category, 4 * objects))
    settings = CategoryConfig(family=family, size=SIZE)
    results.row(f"{family}: reconstruction", lambda: measured(category, settings, pictures))
    results.row(f"{family}: speed", lambda: speed(editor, steps))
    inversion, codes = inversions(category, editor.encoder, objects, InversionConfig())
    results.put(f"{family}: inversion", inversion)
    reader = Reader(category)
    reader.fit(reader_steps)
    results.put(f"{family}: reader", reader.quality())
    edits = Edits(category, reader, codes, scorer)
    methods = {name: edits.drawn(edit) for name, edit in methods_of(category, editor, steps).items()}
    before = methods["no edit"]
    for name, edit in methods.items():
        few = optimised if name == "optimisation" else prompts
        results.row(f"{family}: edits, {name}", lambda edit=edit, few=few: edits.measure(edit, before, few))
    results.row(f"{family}: edits, truth", lambda: edits.measure(edits.truth, edits.truth, prompts))
    results.report(*tables(results.rows))


GROUPS = ("density", "coordinates", "leak", "reconstruction", "inversion", "speed", "reader")


def tables(rows: Mapping[str, Row]) -> list[Table]:
    """For each family its figures, and the methods of editing."""
    found = []
    for family in dict.fromkeys(key.split(": ")[0] for key in rows):
        lines = [
            [group, name.replace("_", " "), value if isinstance(value, bool) else f"{value:.4g}"]
            for group in GROUPS
            for name, value in rows.get(f"{family}: {group}", {}).items()
        ]
        found.append(Table(f"{family.capitalize()}", ["", "figure", "value"], lines))
        start = f"{family}: edits, "
        lines = [_edits_line(key.removeprefix(start), row) for key, row in rows.items() if key.startswith(start)]
        columns = ["method", "change of the named attribute", "of the others", "ratio", "right sign", "unnamed kept",
                   "R-precision, attributes", "captions"]  # fmt: skip
        found.append(Table(f"Edits of {family}", columns, lines))
    return found


def _edits_line(name: str, row: Row) -> list[Any]:
    precision = [row["r_precision"], row["r_precision_captions"]]
    return [name, *(f"{row[key]:.2f}" for key in ("diagonal", "off_diagonal", "ratio")),
            *(f"{row[key]:.1%}" for key in ("right_sign", "unnamed_kept")),
            *("no judge" if value is None else f"{value:.1%}" for value in precision)]  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(run_script(main))
