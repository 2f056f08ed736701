"""Contexts: one batched call, and the table of all timesteps, against separate calls."""

from __future__ import annotations

import torch

from mappers.neti import NeTIMapper, Word
from pipelines.personalization.contexts import ContextTable, layer_contexts
from pipelines.personalization.pipeline import NeTIPipeline

TOKEN = "<cat>"


def test_one_call_for_all_layers_equals_one_call_per_layer(pipeline: NeTIPipeline) -> None:
    text = pipeline.text
    prompts = text.tokenize(["a <cat>", "the <cat> on the beach"], [TOKEN])
    words = Word(torch.randn(10, 16), torch.randn(10, 16))
    with torch.no_grad():
        together = layer_contexts(text, prompts, {TOKEN: words}, 5)
        for n in range(2):
            for layer in range(5):
                row = slice(n * 5 + layer, n * 5 + layer + 1)
                assert words.bypass is not None
                one = {TOKEN: Word(words.embedding[row], words.bypass[row])}
                keys, values, _ = text.encode([part.rows(torch.tensor([n])) for part in prompts], one)
                torch.testing.assert_close(together.keys[layer, n], keys[0], atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(together.values[layer, n], values[0], atol=1e-5, rtol=1e-5)


def test_the_table_gives_what_separate_calls_give(pipeline: NeTIPipeline) -> None:
    """Prompts with and without the word in any order; a small memory changes nothing but the number of calls."""
    mapper = NeTIMapper(16, 16, 20.0, seed=3).eval()
    text, prompts = pipeline.text, ["a toy", f"a {TOKEN}", "a red cat", f"{TOKEN} on {TOKEN}"]
    table = ContextTable(text, prompts, {TOKEN: mapper}, pipeline.layers)
    table.rows_per_call = 2 * 16 * 2
    times = [981.0, 500.5, 20.0]
    for forgetful in (False, True):
        table.max_bytes = 1 if forgetful else 1 << 30
        for i, t in enumerate(times):
            made = table.at(t, times[i + 1 :])
            for row, prompt in enumerate(prompts):
                words = {TOKEN: mapper(torch.full((16,), t), torch.arange(16))}
                alone = layer_contexts(text, text.tokenize([prompt], [TOKEN]), words, pipeline.layers)
                torch.testing.assert_close(made.keys[:, row], alone.keys[:, 0], rtol=1e-5, atol=1e-5)
                torch.testing.assert_close(made.values[:, row], alone.values[:, 0], rtol=1e-5, atol=1e-5)
