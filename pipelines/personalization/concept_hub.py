"""Learned words as folders and on the Hugging Face hub: ``concept.safetensors`` and a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from PIL import Image

from mappers.files import replacing
from mappers.registry import mapper_name
from mappers.tables import markdown_table

from .concepts import Concept, load_concept, save_concept
from .options import CONCEPT


def save_pretrained(
    concept: Concept,
    folder: str | Path,
    *,
    license: str = "other",
    report: Mapping[str, Any] | None = None,
    samples: Image.Image | None = None,
) -> Path:
    """Write ``concept.safetensors``, a card ``README.md`` and, if given, ``samples.png`` to ``folder``.

    Args:
        concept: the word.
        folder: the folder to write to.
        license: of the pictures that it was learned from, as the hub names licences.
        report: what `pipelines.evaluate` returned.
        samples: a picture for the card.

    Returns:
        The folder.

    Raises:
        OSError: the folder is not writable.
    """
    folder = Path(folder)
    save_concept(concept, folder / CONCEPT)
    if samples is not None:
        with replacing(folder / "samples.png") as temporary:
            samples.save(temporary, format="PNG")
    with replacing(folder / "README.md") as temporary:
        text = card(concept, license=license, report=report, samples=samples is not None)
        temporary.write_text(text, encoding="utf-8")
    return folder


def from_pretrained(source: str | Path) -> Concept:
    """Read a concept from a folder, a file, or a hub id ``organisation/name``.

    Raises:
        FileNotFoundError: there is nothing of that name; the message says what was tried.
        ValueError: the file is damaged, or no concept.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return load_concept(path / CONCEPT)
    if path.is_file():
        return load_concept(path)
    try:
        return load_concept(Path(hf_hub_download(str(source), CONCEPT)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, ConnectionError) as error:
        raise FileNotFoundError(
            f"{str(source)!r} is neither a folder, nor a concept file, nor a repository of the hub with a {CONCEPT} in "
            f"it that can be reached ({str(error).splitlines()[0]})"
        ) from error


def push_to_hub(concept: Concept, repository: str, *, private: bool = True, **card_fields: Any) -> str:
    """Upload the word and its card; private unless you say otherwise. See `save_pretrained` for the card's fields.

    Returns:
        Address of the commit.
    """
    api = HfApi()
    api.create_repo(repository, private=private, exist_ok=True)
    with TemporaryDirectory() as folder:
        save_pretrained(concept, folder, **card_fields)
        return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"Learned {concept.token}"))


def card(concept: Concept, *, license: str, report: Mapping[str, Any] | None, samples: bool) -> str:
    """The model card, in Markdown with the hub's metadata."""
    about: dict[str, Any] = {
        "license": license,
        "library_name": "mapfield",
        "tags": ["text-to-image", "personalization", "neti", "concept"],
        "instance_prompt": f"a photo of a {concept.token}",
    }
    if concept.model.count("/") == 1 and not concept.model.startswith((".", "/")):
        about["base_model"] = concept.model
    # The path of a private folder is of no use to others and may reveal more than its owner wants.
    base = about.get("base_model") or Path(concept.model).name or "unknown"
    parts = [f"---\n{yaml.safe_dump(about, sort_keys=False)}---", f"# {concept.token}"]
    parts.append(
        f"A word for one particular {concept.category}, learned with `{mapper_name(concept.mapper)}` on the base model "
        f"`{base}` ({concept.base.layers} cross-attentions, text embeddings {concept.base.width} wide). The base model "
        "itself is not part of this file, and its licence applies to what is drawn with it."
    )
    if samples:
        parts.append("![samples](samples.png)")
    parts.append(
        f'```python\nimport pipelines\n\npipeline = pipelines.NeTIPipeline.from_model("{base}")\n'
        f'pipeline.load_concept("{CONCEPT}")\npipeline("a photo of a {concept.token} on the beach").images[0]\n```'
    )
    parts.append(f"## Settings\n\n```json\n{json.dumps(concept.settings, indent=2)}\n```")
    parts.append(f"## Figures\n\n{_figures(report)}")
    parts.append(
        f"## Licence and real persons\n\nLicence: {license}; it should be one that the makers of the training pictures "
        "allow.\n\nIf the word represents a real person, share it only with that person's consent. Pictures drawn with "
        "it are not photographs; do not pass them off as such, nor use them to deceive, harass or demean anyone."
    )
    return "\n\n".join(parts) + "\n"


def _figures(report: Mapping[str, Any] | None) -> str:
    if report is None:
        return "Not measured; `mapfield evaluate` does."
    names = sorted({name for scores in report["scores"].values() for name in scores})
    rows = [
        [row, *(_interval(scores[name]) if name in scores else None for name in names)]
        for row, scores in report["scores"].items()
    ]
    judges = ", ".join(f"{kind} {name}" for kind, name in report["judges"].items() if name)
    return (
        markdown_table(["", *names], rows)
        + f"\n\nMeans and 95 % intervals over {report['settings']['seeds']} seeds, by {judges}."
    )


def _interval(score: Mapping[str, float]) -> str:
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
