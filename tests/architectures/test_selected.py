"""A dozen architectures of every kind, tried as `make test-architectures` tries all of them."""

from collections.abc import Mapping

import pytest

from tests.architectures.configs import names
from tests.architectures.row import Row
from tests.architectures.sweep import sweep
from tests.architectures.variants import Variant, variants

EXACT = (
    "llama",  # rotary positions
    "gpt2",  # learned positions, transposed weights
    "bloom",  # positions as biases of attention
    "gemma2",  # capped scores and logits
    "gpt_oss",  # sinks, experts
    "qwen2_moe sliding",  # windows that are in the mask alone
    "phimoe sliding",
    "llama4_text",  # chunks
    "deepseek_v32",  # a selection of the most similar tokens
    "llama dynamic",  # positions stretched by the longest text
    "phi3 longrope",
    "bamba",  # states beside attention
    "mamba",  # states alone
    "xlstm",  # states in pieces of one length, whose gradients depend on it
)
REFUSED = ("bert",)  # sees later tokens


@pytest.fixture(scope="module")
def rows() -> Mapping[str, Row]:
    selected = [_variant(title) for title in EXACT + REFUSED]
    return {row.title: row for row in sweep(selected, frozenset({"exactness"}))}


def _variant(title: str) -> Variant:
    name = title.split()[0]
    return next(variant for variant in variants(name) if str(variant) == title)


@pytest.mark.parametrize("title", EXACT)
def test_the_cores_figures_of_a_model_are_those_of_plain_transformers(rows: Mapping[str, Row], title: str) -> None:
    assert rows[title].status == "exact", rows[title].notes


@pytest.mark.parametrize("title", REFUSED)
def test_a_model_that_looks_ahead_is_refused_by_name(rows: Mapping[str, Row], title: str) -> None:
    assert rows[title].status == "refused"
    assert rows[title].notes[0].startswith("not_causal: ")


def test_the_sweep_has_every_causal_language_model_that_transformers_has() -> None:
    assert len(names()) > 150
    assert {"llama", "mamba", "gpt2", "qwen3_moe"} <= set(names())
