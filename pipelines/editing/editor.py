"""Edit objects of a category by text, exemplar and picture: ``pipelines.edit_nerf`` (CLIP-NeRF, arXiv 2112.05139)."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mappers.code_mapper import CodeEditor, load_code_mapper
from nerf.conditional import ConditionalModel
from nerf.conditional.clip.scorer import DEFAULT, PromptDomain, Scorer
from nerf.conditional.model import located
from nerf.conditional.views import View

from .session import History, Step, load_session, save_session

if TYPE_CHECKING:  # each is imported by the method that needs it, so that an edit with a mapper loads little
    from mappers.picture_encoder import PictureEncoder
    from nerf.conditional.inversion.inversion import Inversion, InversionConfig
    from nerf.conditional.mapping.code_optimization import OptimizerConfig
    from nerf.runs import Run

logger = logging.getLogger(__name__)

Method = Literal["mapper", "ridge", "optimize"]
"""How edits are found: a trained mapper, the closed form, or an optimisation for every prompt."""
Picture = str | Path | Image.Image | np.ndarray

FARTHEST = 2.0
"""Codes may lie so many times as far from the family's mean as the farthest training code."""
SHOWN = 64
"""Side of the pictures of which an exported run says that it was seen."""


class Editor:
    """One object of a category, its edits, and the way back.

    Args:
        model: the category.
        name: its id or folder, which saved sessions name.
        scorer: CLIP that texts and exemplars are embedded with.
        mapper: finds edits; None fits the closed form when it is first needed.
        encoder: sees where the search for a picture's object begins; None begins with typical objects.
        session: file that the history is written to after every change, so that a crash loses nothing.
    """

    def __init__(
        self,
        model: ConditionalModel,
        name: str,
        scorer: Scorer,
        *,
        mapper: CodeEditor | None = None,
        encoder: PictureEncoder | None = None,
        session: str | Path | None = None,
    ):
        self.model, self.name, self.scorer, self.session = model, name, scorer, session
        self._mapper, self.encoder = mapper, encoder
        self.history = History([Step("instance 0", *model.codes(0))])
        self.target_embedding: Float[Tensor, " d"] | None = None
        """CLIP's embedding of the latest edit's text or exemplar."""

    @property
    def codes(self) -> tuple[Float[Tensor, " s"], Float[Tensor, " a"]]:
        """The current shape and appearance codes."""
        return self.history.now.shape_code, self.history.now.appearance_code

    def instance(self, number: int) -> Editor:
        """Take training object ``number``, forgetting the history.

        Raises:
            ValueError: there is no such object.
        """
        return self._start(Step(f"instance {number}", *self.model.codes(number)))

    def sample(self, seed: int) -> Editor:
        """Take an object that was not trained on, forgetting the history."""
        return self._start(Step(f"sample {seed}", *self.model.sample(seed)))

    def use(self, shape_code: Float[Tensor, " s"], appearance_code: Float[Tensor, " a"]) -> Editor:
        """Take the object of two codes, forgetting the history.

        Raises:
            ValueError: a code has the wrong size, is not finite, or lies far outside the family.
        """
        self._check(shape_code, appearance_code, "choose one nearer to the table's")
        return self._start(Step("codes", shape_code.detach().clone(), appearance_code.detach().clone()))

    def invert(
        self, image: Picture, *, mask: Picture | None = None, config: InversionConfig | None = None
    ) -> Inversion:
        """Find codes and pose of the object in a picture, and take it, forgetting the history.

        Args:
            image: with transparency, or with a plain ground.
            mask: white where the object is.
            config: settings.

        Returns:
            What was found; ``view(size)`` is from where the picture was taken.

        Raises:
            FileNotFoundError, ValueError: the picture cannot be used.
        """
        from nerf.conditional.inversion.inversion import InversionConfig, invert
        from nerf.conditional.inversion.target_picture import target_of

        from ..images import load_images

        config = config or InversionConfig()
        masked = None if mask is None else load_images([mask])[0]
        found = invert(self.model, target_of(_opened(image), config.size, masked), config, encoder=self.encoder)
        self._start(Step("picture", found.shape_code, found.appearance_code))
        return found

    def apply(
        self,
        text: str | None = None,
        *,
        exemplar: Picture | None = None,
        strength: float = 1.0,
        shape: bool = True,
        appearance: bool = True,
    ) -> Editor:
        """Move the current codes towards a text or a picture.

        `pipelines.editing.options.EditOptions` describes the arguments. A text far from the family's captions is warned
        of. With ``shape`` off, density stays equal to the bit.

        Raises:
            ValueError: there is not exactly one wish, or one that cannot be used, nothing may change, or the edited
                codes lie far outside the family.
        """
        if not shape and not appearance:
            raise ValueError("neither shape nor appearance may change; allow at least one of them")
        embedding, label = self.embedded(text, exemplar)
        codes = [code[None] for code in self.codes]
        moved = self.mapper.edit(
            embedding[None], codes[0], codes[1], strength=strength, shape=shape, appearance=appearance
        )
        edited = moved[0][0].detach(), moved[1][0].detach()
        self._check(*edited, "lower the strength")
        self.history.add(Step(label, *edited))
        self.target_embedding = embedding
        self._keep()
        return self

    def embedded(self, text: str | None, exemplar: Picture | None = None) -> tuple[Float[Tensor, " d"], str]:
        """CLIP's embedding of a wish, and what it is called; an unfamiliar text is warned of.

        Raises:
            ValueError: both or neither is given, or the text is empty.
        """
        if (text is None) == (exemplar is None):
            raise ValueError("give either a text or an exemplar")
        if text is None:
            assert exemplar is not None
            from nerf.conditional.inversion.target_picture import on_white

            return self.scorer.embed_pil([on_white(_opened(exemplar))])[0], "exemplar"
        if not text.strip():
            raise ValueError('the text is empty; say what the object should be, such as "a tall red chair"')
        score = self.prompt_domain.score(text)
        if score < self.prompt_domain.limit:
            logger.warning(
                "%r is far from what is said of %s (score %.2f, usual are %.2f and more): expect little sense of it",
                text, self.model.family.name, score, self.prompt_domain.limit,
            )  # fmt: skip
        return self.scorer.embed_texts([text])[0], text

    @cached_property
    def prompt_domain(self) -> PromptDomain:
        """How near texts are to the family's captions."""
        return PromptDomain(self.scorer, self.model.family)

    @property
    def mapper(self) -> CodeEditor:
        """What finds edits."""
        if self._mapper is None:
            from nerf.conditional.mapping.caption_library import fit_ridge

            logger.info("no trained mapper; the closed form is fitted to captions and pictures of %s", self.name)
            self._mapper = fit_ridge(self.model, self.scorer)
        return self._mapper

    def render(self, view: View | None = None, *, original: bool = False) -> Image.Image:
        """The current object, or with ``original`` that of the history's beginning, from a view."""
        from nerf.evaluation import picture_of

        step = self.history.steps[0] if original else self.history.now
        view = view or View()
        return picture_of(self.model.render(step.shape_code, step.appearance_code, view.camera(self.model)).color)

    def undo(self) -> Editor:
        """Take back the last edit; `ValueError` when there is none."""
        self.history.undo()
        self._keep()
        return self

    def redo(self) -> Editor:
        """Do again what was undone; `ValueError` when there is nothing."""
        self.history.redo()
        self._keep()
        return self

    def save(self, path: str | Path) -> None:
        """Write the whole history as one safetensors file, or leave the file there as it is."""
        save_session(path, self.history, self.name, self.model.space)

    def load(self, path: str | Path) -> Editor:
        """Go on where a saved session of the same model was.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, or of another model.
        """
        saved = load_session(path)
        if saved.space != self.model.space:
            raise ValueError(f"{path} was made with the model {saved.model}, whose codes mean something else; use that")
        for step in saved.history.steps:
            self._check(step.shape_code, step.appearance_code, "save the edit again")
        self.history = saved.history
        return self

    def run(self) -> Run:
        """The current object as a run of ``nerf``: films, meshes, point clouds and distillation take it."""
        from mappers.trainer import FitReport
        from nerf.runs import Run

        model, codes = self.model, self.codes
        viewpoints = model.family.viewpoints(SHOWN)
        field = model.field.at(*codes)
        return Run(field, model.occupancy(codes[0]), model.marching, viewpoints, self.name, 1.0, FitReport())

    def export(self, folder: str | Path, *, field: str = "hash", size: str = "small", steps: int | None = None) -> Run:
        """Distill the current object into a field of another family (PVD) and write the folder of its run.

        ``python -m nerf render``, ``export`` and ``distill`` take that folder; a conditional field itself has two
        codes and a category around it, which they do not know.

        Args:
            folder: of the run.
            field: family, such as hash, mlp or voxel.
            size: named size of the family.
            steps: optimizer steps; None takes the family's own settings.

        Raises:
            FieldError: no such family or size.
            TrainingError: the folder holds a run already.
        """
        from nerf.distillation.training import distill

        return distill(self.run(), field, size=size, steps=steps, output_dir=folder)

    def _start(self, step: Step) -> Editor:
        self.history = History([step])
        self._keep()
        return self

    def _keep(self) -> None:
        if self.session is not None:
            self.save(self.session)

    def _check(self, shape_code: Tensor, appearance_code: Tensor, remedy: str) -> None:
        """Refuse codes that mean nothing."""
        self.model.field.at(shape_code, appearance_code)
        tables = (
            ("shape", shape_code, self.model.shape_codes),
            (
                "appearance",
                appearance_code,
                self.model.appearance_codes,
            ),
        )
        for name, code, table in tables:
            far = float(self.model.prior(name).mahalanobis(code))
            usual = float(self.model.prior(name).mahalanobis(table).max())
            if far > FARTHEST * usual:
                raise ValueError(
                    f"the {name} code lies {far:.1f} standard deviations from the family's mean, its training codes at"
                    f" most {usual:.1f}; {remedy}"
                )


def edit_nerf(
    model: str | Path = "nano-chairs",
    *,
    instance: int | None = None,
    seed: int | None = None,
    clip: str | Path | None = None,
    method: Method | None = None,
    mapper: str | Path | None = None,
    session: str | Path | None = None,
    optimizer: OptimizerConfig | None = None,
) -> Editor:
    """Open an object of a category for editing.

    `pipelines.editing.options.ObjectOptions` describes the arguments that are not listed here.

    Args:
        session: file that the history is kept in. If it exists, the session goes on there.
        optimizer: settings of the method "optimize".

    Raises:
        FileNotFoundError: the model, a mapper or CLIP does not exist.
        ValueError: one of them is damaged, they do not belong together, or an argument cannot be used.
    """
    if instance is not None and seed is not None:
        raise ValueError("give either an instance or a seed, not both")
    from nerf.conditional.inversion.inversion import encoder_of

    loaded = ConditionalModel.load(model)
    folder = _mapper_folder(located(model), method, mapper)
    trained = None if folder is None else load_code_mapper(folder)
    recorded = None if trained is None else trained.config.get("clip")
    scorer = Scorer.load(clip or recorded or DEFAULT)
    if trained is not None:
        trained.check_spaces(loaded.space, scorer.space)
    found: CodeEditor | None = trained
    if method == "optimize":
        from nerf.conditional.mapping.code_optimization import PromptOptimizer

        found = PromptOptimizer(loaded, scorer, optimizer)
    editor = Editor(loaded, str(model), scorer, mapper=found, encoder=encoder_of(model), session=session)
    if session is not None and Path(session).is_file() and instance is None and seed is None:
        return editor.load(session)
    return editor.sample(seed) if seed is not None else editor.instance(instance or 0)


def _mapper_folder(model: Path, method: Method | None, mapper: str | Path | None) -> Path | None:
    """Where the mapper to load is; None where none is needed."""
    if method == "optimize":
        return None
    if mapper is not None:
        return Path(mapper)
    if method == "mapper":
        return model / "mapper"
    names = ("ridge",) if method == "ridge" else ("mapper", "ridge")
    return next((model / name for name in names if (model / name).is_dir()), None)


def _opened(source: Picture) -> Image.Image:
    """A picture with its transparency, if it has one."""
    from ..images import load_images, load_masks

    rgb = load_images([source])[0]
    try:
        alpha = load_masks("alpha", [source], [rgb.size])[0]
    except ValueError:  # it has none
        return rgb
    # `load_images` puts transparent pictures on white; here they are taken off it again.
    share = np.asarray(alpha, np.float32)[..., None] / 255
    straight = (np.asarray(rgb, np.float32) / 255 - 1 + share) / np.maximum(share, 1 / 255)
    rgb = Image.fromarray((straight.clip(0, 1) * 255).round().astype(np.uint8))
    rgb.putalpha(alpha)
    return rgb
