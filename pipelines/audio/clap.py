"""CLAP embeddings of sounds and texts: they rank candidates, are the targets of mappers, and judge sounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ClapFeatureExtractor, ClapModel, ClapTextModelWithProjection, RobertaTokenizer

from mappers.embedding_cache import space_id
from mappers.hub import why_not_loaded

from .files import check_wave, resample


class Clap:
    """A ClapModel with the processors of its inputs.

    Args:
        model: audio and text encoder.
        extractor: computes spectrograms, at its own sampling rate.
        tokenizer: of the text encoder.
    """

    def __init__(self, model: ClapModel, extractor: ClapFeatureExtractor, tokenizer: RobertaTokenizer):
        self.model, self.extractor, self.tokenizer = model.eval(), extractor, tokenizer
        self.space_id = clap_space(model)

    @classmethod
    def from_folder(cls, folder: str | Path) -> Clap:
        """Load a folder in transformers' layout of CLAP.

        Raises:
            FileNotFoundError: ``folder`` holds no such model.
        """
        try:
            return cls(
                ClapModel.from_pretrained(folder),
                ClapFeatureExtractor.from_pretrained(folder),
                RobertaTokenizer.from_pretrained(folder),
            )
        except (OSError, ValueError, TypeError) as error:
            reason = why_not_loaded(error)
            raise FileNotFoundError(f"could not load a CLAP model from {str(folder)!r}: {reason}") from error

    @torch.no_grad()
    def embed_sounds(
        self, waves: Sequence[Float[np.ndarray, " _samples"]], sampling_rate: int, *, batch: int = 16
    ) -> Float[Tensor, "n d"]:
        """Audio embeddings of unit length.

        A sound longer than the model's window is cut into windows, the last of which ends where the sound ends; its
        embedding is their normalized mean. Otherwise the extractor would crop at random.

        Args:
            waves: mono waveforms in [-1, 1].
            sampling_rate: of ``waves``, in samples per second; they are resampled to the model's rate.

        Raises:
            ValueError: a sound is empty or not finite.
        """
        rate, length = self.extractor.sampling_rate, self.extractor.nb_max_samples
        pieces: list[np.ndarray] = []
        owners: list[int] = []
        for number, wave in enumerate(waves):
            wave = resample(check_wave(wave), sampling_rate, rate)
            starts = [*range(0, len(wave) - length, length), len(wave) - length] if len(wave) > length else [0]
            pieces += [wave[start : start + length] for start in starts]
            owners += [number] * len(starts)
        rows = []
        for first in range(0, len(pieces), batch):
            part = pieces[first : first + batch]
            features = self.extractor(part, sampling_rate=rate, return_tensors="pt").input_features
            # Given explicitly: among short sounds the extractor of fusion models marks a random one as long.
            longer = torch.zeros(len(part), 1, dtype=torch.bool, device=self.model.device)
            features = features.to(self.model.device, self.model.dtype)
            found = self.model.get_audio_features(input_features=features, is_longer=longer).pooler_output
            rows.append(F.normalize(found.float(), dim=-1))
        owner = torch.tensor(owners)
        embeds = torch.cat(rows).cpu()
        return F.normalize(torch.stack([embeds[owner == number].mean(0) for number in range(len(waves))]), dim=-1)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Text embeddings of unit length."""
        tokens = self.tokenizer(
            list(texts), padding="max_length", max_length=self.tokenizer.model_max_length, truncation=True,
            return_tensors="pt",
        ).to(self.model.device)  # fmt: skip
        found = self.model.get_text_features(tokens.input_ids, attention_mask=tokens.attention_mask).pooler_output
        return F.normalize(found.float(), dim=-1).cpu()


class _TextTower(nn.Module):
    def __init__(self, model: ClapModel | ClapTextModelWithProjection):
        super().__init__()
        self.text_model, self.text_projection = model.text_model, model.text_projection


def clap_space(model: ClapModel | ClapTextModelWithProjection) -> str:
    """Id of CLAP's space, from its text encoder: the only part of CLAP in a folder of AudioLDM's layout."""
    return space_id(_TextTower(model))
