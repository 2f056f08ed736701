"""Fixtures: tiny models in the exact layouts of Stable Diffusion 1.x, 2.x and XL; two processes; expected values."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from multiprocessing.context import BaseContext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    from pipelines.personalization.pipeline import NeTIPipeline

# Torch and the libraries above are imported where they are needed: the process that hands tests to others needs none.
if "PYTEST_XDIST_WORKER" in os.environ:
    # Tests in several processes take a core each, and so do the programs that they start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)

SHAPES_CHECKED_IN = ("mappers", "nerf", "pipelines")
"""Packages whose functions' shapes are checked while tests run."""


def beside(name: str) -> ModuleType:
    """The module ``name`` of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_shapes(*packages: str) -> None:
    """Before any of their modules is imported, in every process that runs tests; see ``shapes.py``."""
    beside("shapes").install(*packages)


# Processes that a test starts import this file too; "_inheriting" says so before they know their parent.
if not getattr(multiprocessing.current_process(), "_inheriting", False):
    check_shapes(*SHAPES_CHECKED_IN)

WORDS = "a photo picture of the one on in red blue object toy cat beach snow night sky two"


EXPECTED = Path(__file__).parent / "expected"
"""Expected values (goldens) of the tests, one JSON file for each test module that has any, at its path."""


BEFORE = pytest.StashKey[dict[str, Any]]()
"""State of the source tree before the tests; see ``source_tree.py``."""


def pytest_sessionstart(session: pytest.Session) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ and not session.config.getoption("--update-goldens"):
        session.config.stash[BEFORE] = beside("source_tree").state(session.config.rootpath)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that leaves the source tree changed: tests write to temporary folders."""
    if BEFORE not in session.config.stash:
        return
    tree = beside("source_tree")
    if changed := tree.changes(session.config.stash[BEFORE], tree.state(session.config.rootpath)):
        print(f"\nFAILED: while the tests ran, files of the source tree changed: {', '.join(changed[:10])}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def fuzzing() -> ModuleType:
    """The package ``fuzzing`` of this folder: random files, command lines, and what may come of them."""
    place = Path(__file__).with_name("fuzzing")
    spec = importlib.util.spec_from_file_location(
        "fuzzing", place / "__init__.py", submodule_search_locations=[str(place)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["fuzzing"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def source_tree() -> ModuleType:
    """The module ``source_tree.py``."""
    return beside("source_tree")


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "rewrite the expected values in tests/expected instead of comparing with them"
    parser.addoption("--update-goldens", action="store_true", help=text)


@pytest.fixture
def expected(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Compares values with those in ``tests/expected``, or writes them there under ``--update-goldens``.

    ``expected(name, value)`` asks for equality; numbers, also in a list or a dictionary, may differ by the tolerance
    ``expected(name, value, rel=..., abs=...)``, as of `pytest.approx`.
    """
    module = request.path.relative_to(Path(__file__).parent)
    path = (EXPECTED / module).with_suffix(".json")

    def check(name: str, value: Any, *, rel: float | None = None, abs: float | None = None) -> None:
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if request.config.getoption("--update-goldens"):
            path.parent.mkdir(parents=True, exist_ok=True)
            values = json.dumps({**known, name: value}, indent=2, sort_keys=True)
            path.write_text(values + "\n", encoding="utf-8")
            return
        assert name in known, f"{path} has no {name!r}; run this test with --update-goldens and read the difference"
        close = known[name] if rel is None and abs is None else pytest.approx(known[name], rel=rel, abs=abs)
        assert value == close, name

    return check


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen cross-attentions in 6 + 1 + 9, four resolutions, PNDM, noise prediction; 32 px pictures."""
    return build_tiny(tmp_path_factory.mktemp("tiny-sd1"))


@pytest.fixture(scope="session")
def tiny_sd2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as Stable Diffusion 2: a wider OpenCLIP text encoder, linear projections, velocity prediction."""
    return build_tiny(
        tmp_path_factory.mktemp("tiny-sd2"),
        text={"hidden_size": 24, "hidden_act": "gelu"},
        unet={"cross_attention_dim": 24, "use_linear_projection": True, "attention_head_dim": [1, 1, 2, 2]},
        prediction_type="v_prediction",
    )


def build_tiny(
    folder: Path, text: dict[str, Any] | None = None, unet: dict[str, Any] | None = None, **schedule: Any
) -> Path:
    """Write a tiny random model to ``folder``, with some settings changed."""
    import torch
    from diffusers import PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel

    from pipelines.nano.recipes.tokenizer import train_tokenizer

    torch.manual_seed(0)
    tokenizer = train_tokenizer([WORDS] * 3, merges=120)
    text_encoder = CLIPTextModel(_text_config(tokenizer, **{"hidden_size": 16} | (text or {})))
    denoiser = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 8, 16, 16), layers_per_block=2, norm_num_groups=4,
        **{"cross_attention_dim": 16, "attention_head_dim": 2} | (unet or {}),
    )  # fmt: skip
    _enliven(text_encoder)
    vae = _vae()
    scheduler = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
        **schedule,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=denoiser, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two text encoders, the second with other padding; 70 cross-attentions in 11 blocks; Euler's fractional steps."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    from pipelines.nano.recipes.tokenizer import train_tokenizer

    torch.manual_seed(0)
    tokenizer = train_tokenizer([WORDS] * 3, merges=120)
    folder = tmp_path_factory.mktemp("tiny-sdxl")
    tokenizer.save_pretrained(folder / "second")
    second = CLIPTokenizer.from_pretrained(folder / "second", pad_token="!")
    text_encoder = CLIPTextModel(_text_config(tokenizer, hidden_size=16))
    text_encoder_2 = CLIPTextModelWithProjection(
        _text_config(second, hidden_size=24, hidden_act="gelu", projection_dim=12, eos_token_id=2)
    )
    denoiser = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16, 16), layers_per_block=2, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 2, 10], attention_head_dim=[1, 2, 2], use_linear_projection=True,
        cross_attention_dim=40, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=12 + 6 * 8,
    )  # fmt: skip
    _enliven(text_encoder, text_encoder_2)
    scheduler = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    StableDiffusionXLPipeline(
        vae=_vae(), text_encoder=text_encoder, text_encoder_2=text_encoder_2, tokenizer=tokenizer, tokenizer_2=second,
        unet=denoiser, scheduler=scheduler, add_watermarker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def _text_config(tokenizer: CLIPTokenizer, **settings: Any) -> CLIPTextConfig:
    from transformers import CLIPTextConfig

    from pipelines.nano.recipes.tokenizer import END, START

    end = tokenizer.convert_tokens_to_ids(END)
    return CLIPTextConfig(
        **{"eos_token_id": end} | settings, vocab_size=len(tokenizer), intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=tokenizer.model_max_length, pad_token_id=end,
        bos_token_id=tokenizer.convert_tokens_to_ids(START),
    )  # fmt: skip


def _vae() -> AutoencoderKL:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8), norm_num_groups=4, sample_size=32,
    )  # fmt: skip


def _enliven(*text_encoders: CLIPTextModel | CLIPTextModelWithProjection) -> None:
    """At their start text encoders hardly react to their input; larger weights make differences visible."""
    for text_encoder in text_encoders:
        text_encoder.get_input_embeddings().weight.data.mul_(20)


@pytest.fixture
def sdxl(tiny_sdxl: Path) -> NeTIPipeline:
    from pipelines.personalization.pipeline import NeTIPipeline

    loaded = NeTIPipeline.from_model(tiny_sdxl, device="cpu")
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture
def pipeline(tiny_model: Path) -> NeTIPipeline:
    from pipelines.personalization.pipeline import NeTIPipeline

    loaded = NeTIPipeline.from_model(tiny_model, device="cpu")
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture(scope="session")
def processes() -> BaseContext:
    """Starts processes at once, where the system can: a server has imported the trainers for all of them."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    context.set_forkserver_preload(["nerf.training", "nerf.conditional.train", "nerf.compression.learning.prior_task"])
    return context


@pytest.fixture(scope="session")
def two_processes(processes: BaseContext) -> Callable[..., None]:
    """Runs a function of a module in two processes that find each other as under ``torchrun``; fails if one does."""
    import torch.multiprocessing

    def run(function: Callable[..., None], *arguments: Any, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        given, method = (environment, function, arguments), processes.get_start_method()
        torch.multiprocessing.start_processes(_one_of_two, given, nprocs=2, start_method=method)

    return run


def _one_of_two(rank: int, environment: dict[str, str], function: Callable[..., None], given: tuple[Any, ...]) -> None:
    import torch

    ranks = {name: str(rank) for name in ("RANK", "LOCAL_RANK")}
    os.environ.update({**environment, **ranks, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"})
    torch.set_num_threads(1)
    function(*given)
