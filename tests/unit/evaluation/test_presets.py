"""Tables of other benchmarks, from figures of a small model on questions of TOFU's form."""

import math

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation.measurements import MEASUREMENTS, resolve_measurements
from core.evaluation.measurements.muse import STOPS, Muse
from core.evaluation.presets import PRESET_NAMES, PRESETS, preset_table
from core.evaluation.runner import measure_model
from core.schema.evaluation import Measurements, SetName
from core.schema.record import Record
from tests.unit.evaluation.scores.test_wrong_answers import context

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def questions(group: str, count: int = 4, *, paraphrased: bool = True) -> list[Record]:
    return [
        Record(
            prompt=f"Question: which {group} is {n}?\nAnswer: ",
            completion=f"It is the {group}",
            paraphrased_answer=f"The {group} it is" if paraphrased else None,
            wrong=[f"It is the {n}", "It is no one"],
            group=group,
        )
        for n in range(count)
    ]


SETS: dict[SetName, list[Record]] = {
    "forget": questions("forget"),
    "probes": questions("forget"),
    "protected": [
        *questions("retain"),
        *questions("real_authors", paraphrased=False),
        *questions("world_facts", paraphrased=False),
    ],
    "unseen": questions("unseen"),
}


@pytest.fixture(scope="module")
def measured(loaded: Loaded) -> Measurements:
    retrained = context(loaded, SETS, moment="retrained")
    choices = [*PRESETS["tofu"].measure, *PRESETS["muse"].measure]
    return measure_model(
        context(loaded, SETS, retrained=retrained), resolve_measurements(choices), model_digest="0" * 64
    )


def test_the_tofu_table_has_every_key_except_those_of_attacks_that_were_not_chosen(measured: Measurements) -> None:
    result = preset_table("tofu", measured)
    assert set(PRESETS["tofu"].keys) - set(result) == {"mia_reference", "mia_gradnorm"}
    assert all(math.isfinite(value) for value in result.values())
    assert list(result) == [name for name in PRESETS["tofu"].keys if name in result]
    assert result["forget_quality"] == 1.0  # the retrained model is the model itself
    assert result["privleak"] == 0.0
    assert result["forget_truth_ratio"] == result["forget_Truth_Ratio"] == measured.sets["probes"]["truth_ratio"].value
    assert result["forget_Q_A_Prob"] == measured.sets["forget"]["probability"].value
    assert result["ra_Q_A_Prob_normalised"] == measured.sets["protected"]["utility_probability_real_authors"].value
    assert result["mia_loss"] == measured.attacks["loss"].auc.value


def test_the_muse_table_has_every_key(measured: Measurements) -> None:
    result = preset_table("muse", measured)
    assert list(result) == ["verbmem_f", "knowmem_f", "knowmem_r", "privleak"]
    assert 0 <= result["verbmem_f"] <= 100
    assert measured.sets["protected"]["knowmem_muse"].records == 4  # of the group retain


def test_a_preset_table_has_no_key_that_was_not_measured(loaded: Loaded) -> None:
    result = measure_model(
        context(loaded, {"forget": SETS["forget"]}), resolve_measurements(["likelihood"]), model_digest="0" * 64
    )
    assert preset_table("tofu", result) == {"forget_Q_A_Prob": result.sets["forget"]["probability"].value}
    assert preset_table("muse", result) == {}


def test_muse_warns_of_missing_sets(loaded: Loaded) -> None:
    result = Muse(verbatim_tokens=2, knowledge_tokens=2).measure(context(loaded, {"forget": SETS["forget"][:1]}))
    assert result.warnings == [
        "muse: not measured without records of probes",
        "muse: not measured without records of protected",
    ]


def test_measurements_that_only_presets_show_are_in_no_group() -> None:
    assert all(MEASUREMENTS[name].group is None for name in ("open_unlearning", "muse"))
    for name in PRESET_NAMES:
        assert resolve_measurements(list(PRESETS[name].measure))
    assert STOPS[0] == "\n\n"
