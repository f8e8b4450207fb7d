"""A dozen architectures of every kind as `make test-architectures` tries them all: the core's figures are theirs."""

from collections.abc import Mapping

import pytest

from tests.architectures.configs import names
from tests.architectures.row import Row
from tests.architectures.sweep import swept
from tests.architectures.variants import Variant, variants

EXACT = (
    "llama",  # rotary positions
    "gpt2",  # learned positions, transposed weights
    "bloom",  # positions as biases of attention
    "gemma2",  # capped scores and logits
    "gpt_oss",  # sinks, experts
    "qwen2_moe sliding",  # windows that stand in the mask alone
    "phimoe sliding",
    "llama4_text",  # chunks
    "deepseek_v32",  # a selection of the most similar tokens
    "llama dynamic",  # positions stretched by the longest text
    "phi3 longrope",
    "bamba",  # states beside attention
    "mamba",  # states alone
    "xlstm",  # states in pieces of one length, whose gradients depend on it
)
REFUSED = ("bert",)  # sees what comes later


@pytest.fixture(scope="module")
def rows() -> Mapping[str, Row]:
    wanted = [_variant(title) for title in EXACT + REFUSED]
    return {row.title: row for row in swept(wanted, frozenset({"exactness"}))}


def _variant(title: str) -> Variant:
    name = title.split()[0]
    return next(variant for variant in variants(name) if str(variant) == title)


@pytest.mark.parametrize("title", EXACT)
def test_what_the_core_says_of_a_model_is_what_plain_transformers_says(rows: Mapping[str, Row], title: str) -> None:
    assert rows[title].status == "exact", rows[title].notes


@pytest.mark.parametrize("title", REFUSED)
def test_a_model_that_looks_ahead_is_refused_by_name(rows: Mapping[str, Row], title: str) -> None:
    assert rows[title].status == "refused"
    assert rows[title].notes[0].startswith("not_causal: ")


def test_the_sweep_has_every_causal_language_model_that_transformers_has() -> None:
    assert len(names()) > 150
    assert {"llama", "mamba", "gpt2", "qwen3_moe"} <= set(names())
