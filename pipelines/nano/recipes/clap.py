"""nano-clap: a ClapModel for the nano world's sounds, trained contrastively from scratch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizer

from mappers.training.draws import Draws
from mappers.training.trainer import Prepared

from ...audio.clap import Clap
from ..world.captions import with_article
from ..world.moments import FACTORS, NAMES, Clips, Moment, all_captions, sample_caption
from ..world.sounds import RATE

MAX_LENGTH = 24
"""Tokens of a caption, with start and end marks; the world's have at most 16."""
WIDTH = 128
"""Width of the space that sounds and captions share."""
LEARNED = 400
"""Byte pairs that the tokenizer learns."""


def build_extractor() -> ClapFeatureExtractor:
    """Log-mel spectrograms of exactly the audio tower's 256 frames, from up to three seconds.

    transformers takes whole seconds only; shorter clips are padded with silence.
    """
    return ClapFeatureExtractor(
        feature_size=64, sampling_rate=RATE, hop_length=188, max_length_s=3, fft_window_size=1024, frequency_min=0,
        frequency_max=RATE // 2, truncation="rand_trunc", padding="repeatpad",
    )  # fmt: skip


def train_text_tokenizer() -> RobertaTokenizer:
    """Byte pairs learned on all captions of sounds; any text can be encoded."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + LEARNED, initial_alphabet=alphabet, show_progress=False
    )  # fmt: skip
    learner.train_from_iterator(all_captions(), trainer)
    learned = [tuple(merge) for merge in json.loads(learner.to_str())["model"]["merges"]]
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *alphabet, *("".join(pair) for pair in learned)]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    return RobertaTokenizer(vocab=vocabulary, merges=learned, model_max_length=MAX_LENGTH)


def build_clap(tokenizer: RobertaTokenizer) -> ClapModel:
    """Audio encoder: HTSAT on 128 x 128, four layers in three stages, width 32 to 128; text: two layers, width 64."""
    config = ClapConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": MAX_LENGTH + 2, "type_vocab_size": 1,
            "pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
        },
        audio_config={
            "spec_size": 128, "num_mel_bins": 64, "patch_size": 4, "patch_stride": [4, 4], "window_size": 8,
            "patch_embeds_hidden_size": 32, "depths": [1, 1, 2], "num_attention_heads": [2, 4, 8],
            "hidden_size": 128, "num_hidden_layers": 3, "hidden_dropout_prob": 0.0,
        },
        projection_dim=WIDTH,
    )  # fmt: skip
    return ClapModel(config)


def tokens_of(tokenizer: RobertaTokenizer, captions: Sequence[str]) -> dict[str, Tensor]:
    """Token ids and attention mask, each [b, MAX_LENGTH]."""
    out = tokenizer(list(captions), padding="max_length", max_length=MAX_LENGTH, truncation=True, return_tensors="pt")
    return {"input_ids": out.input_ids, "attention_mask": out.attention_mask}


def features_of(extractor: ClapFeatureExtractor, waves: Float[Tensor, "n samples"]) -> Float[Tensor, "n 1 frames 64"]:
    """Inputs of the audio encoder, for clips at 16 kHz of at most three seconds."""
    return extractor(list(waves.numpy()), sampling_rate=RATE, return_tensors="pt").input_features


def embed_clips(clap: Clap, clips: Clips) -> Float[Tensor, "n d"]:
    """Audio embeddings of unit length."""
    return clap.embed_sounds(list(clips.waves(slice(None)).numpy()), RATE)


class _Towers(nn.Module):
    """Both encoders in one ``forward``, which data-parallel wrappers need."""

    def __init__(self, clap: ClapModel):
        super().__init__()
        self.clap = clap

    def forward(self, input_features: Tensor, tokens: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Audio embeddings, and the logits of sounds over texts and of texts over sounds."""
        output = self.clap(input_features=input_features, **tokens)
        return output.audio_embeds, output.logits_per_audio, output.logits_per_text


class CLAPTask:
    """Contrastive loss over (sound, caption) pairs; every caption that is true of a sound is a positive.

    Two linear heads on the audio embedding, dropped after training, classify object and way to sound (``naming``) and
    predict the hidden factors (``telling``). Captions alone know only three sizes, and no brightness.

    Args:
        clap: the model to train.
        extractor: computes its audio inputs.
        tokenizer: of its text encoder.
        clips: to train on.
        held_out: to validate on.
    """

    grain = 2.0  # dB of noise on spectrograms
    factor_weight = 1.0

    def __init__(
        self,
        clap: ClapModel,
        extractor: ClapFeatureExtractor,
        tokenizer: RobertaTokenizer,
        clips: Clips,
        held_out: Clips,
    ):
        self.clap, self.extractor, self.tokenizer = clap, extractor, tokenizer
        self.clips, self.held_out = clips, held_out
        self.naming, self.telling = nn.Linear(WIDTH, 2 * len(NAMES)), nn.Linear(WIDTH, FACTORS)
        self.modules: Mapping[str, nn.Module] = {
            "clap": _Towers(clap), "naming": self.naming, "telling": self.telling,
        }  # fmt: skip
        self.features = features_of(extractor, clips.waves(slice(None))).half()
        self.ways = torch.tensor([moment.sound_class for moment in clips.moments])
        self.factors = torch.tensor([moment.factors for moment in clips.moments])

    def batch(self, draws: Draws) -> dict[str, Any]:
        rows = draws.integers("clip", len(self.clips)).cpu()
        moments = [self.clips.moments[row] for row in rows]
        texts = [sample_caption(moment, draws.numpy(i)) for i, moment in enumerate(moments)]
        fits = torch.tensor([[text.describes(moment) for text in texts] for moment in moments])
        features = self.features[rows].to(draws.device).float()
        features = features + self.grain * draws.normal("grain", features.shape[1:])
        tokens = tokens_of(self.tokenizer, [text.text for text in texts])
        return {
            "features": features,
            "tokens": {name: value.to(draws.device) for name, value in tokens.items()},
            "fits": fits.to(draws.device),
            "ways": self.ways[rows].to(draws.device),
            "factors": self.factors[rows].to(draws.device),
        }

    def loss(self, modules: Prepared, batch: dict[str, Any], draws: Draws) -> dict[str, Tensor]:
        sounds, per_sound, per_text = modules["clap"](batch["features"], batch["tokens"])
        fits = batch["fits"]
        contrastive = (multi_positive_loss(per_sound.float(), fits) + multi_positive_loss(per_text.float(), fits.T)) / 2
        direction = sounds * WIDTH**0.5
        naming = F.cross_entropy(modules["naming"](direction).float(), batch["ways"])
        telling = F.mse_loss(modules["telling"](direction).float(), batch["factors"])
        loss = contrastive + naming + self.factor_weight * telling
        return {"loss": loss, "contrastive": contrastive, "naming": naming, "telling": telling}

    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        """For held-out sounds: shares of objects named right by text, and of captions retrieved."""
        training = self.clap.training
        clap = Clap(self.clap, self.extractor, self.tokenizer)  # switches the model to evaluation mode
        found = measure_clap(clap, embed_clips(clap, self.held_out), self.held_out.moments)
        self.clap.train(training)
        return found


def multi_positive_loss(logits: Float[Tensor, "a b"], fits: Tensor) -> Tensor:
    """Cross-entropy with a uniform distribution over the positives ``fits`` of each row, mean over rows."""
    shares = fits.float() / fits.sum(1, keepdim=True)
    return -(shares * logits.log_softmax(1)).sum(1).mean()


def measure_clap(clap: Clap, sounds: Float[Tensor, "n d"], moments: Sequence[Moment]) -> dict[str, float]:
    """How well audio embeddings retrieve texts.

    Returns:
        ``named``: share whose nearest of the 16 texts "the sound of a ..." is right; ``text_recall``: share whose
        nearest of all full captions of ``moments`` is their own.
    """
    names = clap.embed_texts([f"the sound of {with_article(name)}" for name in NAMES])
    named = (sounds @ names.T).argmax(1).tolist()
    captions = sorted({moment.sound_caption() for moment in moments})
    found = (sounds @ clap.embed_texts(captions).T).argmax(1).tolist()
    right = [NAMES[i] == moment.name for i, moment in zip(named, moments, strict=True)]
    recalled = [captions[i] == moment.sound_caption() for i, moment in zip(found, moments, strict=True)]
    return {"named": float(np.mean(right)), "text_recall": float(np.mean(recalled)), "captions": float(len(captions))}
