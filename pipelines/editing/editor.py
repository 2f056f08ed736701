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
"""How edits are computed: a trained mapper, the closed form, or an optimisation for each prompt."""
Picture = str | Path | Image.Image | np.ndarray
"""A picture, or its file."""

FARTHEST = 2.0
"""Largest Mahalanobis distance of edited codes, relative to the largest of the training codes."""
RUN_SIZE = 64
"""Side in pixels of the pictures that `Editor.run` records as the run's photos."""


class Editor:
    """One object of a category with the history of its edits.

    Args:
        model: category model.
        name: id or folder of the model, which saved sessions store.
        scorer: CLIP of texts and exemplars.
        mapper: computes displacements; None fits the closed form at the first edit.
        encoder: predicts the starts of `invert`; None starts from typical objects.
        session: file to which the history is written after each change, so that a crash loses nothing.
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
        """CLIP embedding of the last edit's text or exemplar; None before the first edit."""

    @property
    def codes(self) -> tuple[Float[Tensor, " s"], Float[Tensor, " a"]]:
        """The current shape and appearance codes."""
        return self.history.now.shape_code, self.history.now.appearance_code

    def instance(self, number: int) -> Editor:
        """Start a new history with training object ``number``.

        Raises:
            ValueError: there is no training object of this number.
        """
        return self._start(Step(f"instance {number}", *self.model.codes(number)))

    def sample(self, seed: int) -> Editor:
        """Start a new history with a random object that was not trained on."""
        return self._start(Step(f"sample {seed}", *self.model.sample(seed)))

    def use(self, shape_code: Float[Tensor, " s"], appearance_code: Float[Tensor, " a"]) -> Editor:
        """Start a new history with the object of two codes.

        Raises:
            ValueError: a code has the wrong size, is not finite, or lies far outside the family.
        """
        self._check(shape_code, appearance_code, "choose one nearer to the table's")
        return self._start(Step("codes", shape_code.detach().clone(), appearance_code.detach().clone()))

    def invert(
        self, image: Picture, *, mask: Picture | None = None, config: InversionConfig | None = None
    ) -> Inversion:
        """Find codes and pose of the object in a picture, and start a new history with it.

        Args:
            image: picture with transparency or a plain background.
            mask: white where the object is; needed for other backgrounds.
            config: settings.

        Returns:
            Codes and pose; ``view(size)`` is the view of the picture.

        Raises:
            FileNotFoundError, ValueError: the picture or the mask cannot be used.
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
            ValueError: there is not exactly one of text and exemplar, or it cannot be used; neither code may change; or
                the edited codes are far outside the family.
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
        """CLIP embedding of a text or exemplar, and its label in the history; warns of texts outside the domain.

        Raises:
            ValueError: both or neither is given, the text is empty, or the exemplar shows no object.
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
                "%r is far from the captions of %s (similarity %.2f, captions reach %.2f): the edit may be wrong",
                text, self.model.family.name, score, self.prompt_domain.limit,
            )  # fmt: skip
        return self.scorer.embed_texts([text])[0], text

    @cached_property
    def prompt_domain(self) -> PromptDomain:
        """Similarity of texts to the family's captions."""
        return PromptDomain(self.scorer, self.model.family)

    @property
    def mapper(self) -> CodeEditor:
        """The mapper that computes displacements; the closed form is fitted here if there is no other."""
        if self._mapper is None:
            from nerf.conditional.mapping.caption_library import fit_ridge

            logger.info("no trained mapper; the closed form is fitted to captions and pictures of %s", self.name)
            self._mapper = fit_ridge(self.model, self.scorer)
        return self._mapper

    def render(self, view: View | None = None, *, original: bool = False) -> Image.Image:
        """Render the current object, or with ``original`` the first one of the history; None takes the default view."""
        from nerf.evaluation import picture_of

        step = self.history.steps[0] if original else self.history.now
        view = view or View()
        return picture_of(self.model.render(step.shape_code, step.appearance_code, view.camera(self.model)).color)

    def undo(self) -> Editor:
        """Return to the step before the current one.

        Raises:
            ValueError: the current step is the first.
        """
        self.history.undo()
        self._keep()
        return self

    def redo(self) -> Editor:
        """Go to the step after the current one.

        Raises:
            ValueError: the current step is the last.
        """
        self.history.redo()
        self._keep()
        return self

    def save(self, path: str | Path) -> None:
        """Write the whole history as one safetensors file; an interrupted write leaves the old file."""
        save_session(path, self.history, self.name, self.model.space)

    def load(self, path: str | Path) -> Editor:
        """Continue a saved session of the same model.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file is damaged or of another model.
        """
        saved = load_session(path)
        if saved.space != self.model.space:
            raise ValueError(f"{path} was made with the model {saved.model}, whose codes mean something else; use that")
        for step in saved.history.steps:
            self._check(step.shape_code, step.appearance_code, "save the edit again")
        self.history = saved.history
        return self

    def run(self) -> Run:
        """The current object as a `nerf.Run`, which films, meshes, point clouds and distillation take as input."""
        from mappers.training.trainer import FitReport
        from nerf.runs import VolumeRun

        model, codes = self.model, self.codes
        viewpoints = model.family.viewpoints(RUN_SIZE)
        field = model.field.at(*codes)
        return VolumeRun(
            field, viewpoints, self.name, 1.0, FitReport(), sampler=model.occupancy(codes[0]), marching=model.marching
        )

    def export(self, folder: str | Path, *, field: str = "hash", size: str = "small", steps: int | None = None) -> Run:
        """Distill the current object into a field of another family (PVD) and write the folder of its run.

        ``mapfield nerf render``, ``export`` and ``distill`` take that folder; they do not know fields with codes.

        Args:
            folder: folder of the new run.
            field: family, such as hash, mlp or voxel.
            size: named size of the family.
            steps: optimizer steps; None takes the family's own settings.

        Raises:
            FieldError: the family or the size does not exist.
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
        """Refuse codes that are not finite, have another width, or are far from the training codes."""
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
    """Folder of the mapper to load; None if no saved mapper is needed."""
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
    except ValueError:  # no transparency
        return rgb
    # `load_images` puts transparent pictures on white; this removes the white.
    share = np.asarray(alpha, np.float32)[..., None] / 255
    straight = (np.asarray(rgb, np.float32) / 255 - 1 + share) / np.maximum(share, 1 / 255)
    rgb = Image.fromarray((straight.clip(0, 1) * 255).round().astype(np.uint8))
    rgb.putalpha(alpha)
    return rgb
