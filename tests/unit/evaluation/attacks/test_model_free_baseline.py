"""The model-free baseline: chance on text of one kind, high on text of two, never by knowing a subject already."""

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from core.demo.people import general_sentences, people
from core.evaluation.attacks.model_free_baseline import out_of_fold_scores
from core.evaluation.eval_context import EvalContext
from core.evaluation.measurements.baseline import Baseline
from core.schema.evaluation import CutShort, MeasurementResult
from core.schema.record import Message, Record
from tests.unit.evaluation.statistics_samples import TRAINING, no_model

WORDS = ("amber", "basil", "cedar", "dogma", "ember", "fjord", "glyph", "hazel", "ivory", "joust", "knoll", "lemon")


def measured(
    forget: Sequence[Record], unseen: Sequence[Record], measurement: Baseline | None = None
) -> MeasurementResult:
    return (measurement or Baseline()).measure(
        EvalContext(no_model, {"forget": forget, "unseen": unseen}, training=TRAINING)
    )


def told_apart(forget: Sequence[Record], unseen: Sequence[Record]) -> float:
    scores = out_of_fold_scores(forget, unseen, seed=0)
    assert scores is not None
    return float(roc_auc_score([1] * len(forget) + [0] * len(unseen), scores))


def test_the_baseline_cannot_tell_the_demos_people_apart() -> None:
    everyone = people(200, 31)
    result = measured(everyone[:100], everyone[100:])
    figure = result.across["baseline_auc"]
    assert 0.4 < figure.value < 0.6
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < 0.5 < figure.high
    assert figure.records == 100
    assert figure.value == pytest.approx(told_apart(everyone[:100], everyone[100:]))
    assert result.warnings == []
    assert result.cut_short == []


def test_text_of_another_kind_is_told_apart_and_warns_that_membership_cannot_be_judged() -> None:
    result = measured(people(30, 1), general_sentences(30, 1))
    assert result.across["baseline_auc"].value > 0.95
    assert len(result.warnings) == 1
    assert "cannot be judged" in result.warnings[0]


def test_a_shift_of_dates_alone_is_told_apart_in_any_script() -> None:
    generator = np.random.default_rng(0)

    def dated(years: range) -> list[Record]:
        return [Record(text=f"某人于{generator.choice(years)}年{generator.integers(1, 13)}月出生") for _ in range(60)]

    assert told_apart(dated(range(1930, 1960)), dated(range(1990, 2020))) > 0.9


def test_no_subject_is_in_two_folds() -> None:
    def documents(words: Sequence[str], subject: bool) -> list[Record]:
        return [Record(text=f"{word} {word}", subject=word if subject else None) for word in words for _ in range(8)]

    # Each subject gives itself away, and says nothing of others.
    assert told_apart(documents(WORDS[::2], False), documents(WORDS[1::2], False)) > 0.95
    assert told_apart(documents(WORDS[::2], True), documents(WORDS[1::2], True)) < 0.8


def test_the_baseline_reads_prompts_and_questions_too() -> None:
    for kind in ("prompt", "messages"):

        def asked(question: str, kind: str = kind) -> list[Record]:
            if kind == "prompt":
                return [Record(prompt=f"{question} {word}?", completion="Yes.") for word in WORDS]
            answer = Message(role="assistant", content="Yes.")
            return [Record(messages=[Message(role="user", content=f"{question} {word}?"), answer]) for word in WORDS]

        assert told_apart(asked("Who is"), asked("Where in 1996 was")) > 0.95


def test_the_same_seed_gives_the_same_figure() -> None:
    everyone = people(60, 8)
    assert measured(everyone[:30], everyone[30:]) == measured(everyone[:30], everyone[30:])


@pytest.mark.parametrize(("forget", "unseen", "short"), [(9, 10, "forget"), (10, 9, "unseen")])
def test_fewer_than_ten_records_give_a_warning_and_no_figure(forget: int, unseen: int, short: str) -> None:
    everyone = people(forget + unseen, 2)
    result = measured(everyone[:forget], everyone[forget:])
    assert result.across == {}
    assert result.warnings == [f"baseline_auc: not measured on 9 records of {short}, fewer than 10"]


def test_ten_records_are_enough_for_a_figure() -> None:
    everyone = people(20, 2)
    assert set(measured(everyone[:10], everyone[10:]).across) == {"baseline_auc"}


def test_records_of_one_subject_alone_give_a_warning_and_no_figure() -> None:
    forget = [record.model_copy(update={"subject": "one"}) for record in people(20, 2)]
    result = measured(forget, people(20, 3))
    assert result.across == {}
    assert "too few subjects" in result.warnings[0]


def test_a_limit_on_records_is_applied_and_noted() -> None:
    everyone = people(60, 8)
    result = measured(everyone[:40], everyone[40:], Baseline(records=20))
    assert result.across["baseline_auc"].records == 20
    assert result.cut_short == [CutShort(measurement="baseline", what="forget", done=20, of=40, reason="records")]
