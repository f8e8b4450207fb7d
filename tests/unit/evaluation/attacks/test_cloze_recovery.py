"""Blanks: which values are asked for, by what, and what counts as brought back."""

from collections.abc import Sequence

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.demo.people import people
from core.evaluation.attacks import cloze_recovery
from core.evaluation.eval_context import EvalContext
from core.evaluation.measurements.cloze import Cloze
from core.evaluation.measurements.cloze_fill import ClozeFill
from core.evaluation.text import cloze_items as cloze_module
from core.evaluation.text.cloze_items import BLANK, ClozeItem, cloze_items, recovered_shares
from core.evaluation.text.common_words import CommonWords
from core.schema.evaluation import SetName
from core.schema.record import Message, Record
from tests.tiny_model import TinyModel
from tests.unit.evaluation.test_runner import TRAINING

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def bench_of(loaded: Loaded, sets: dict[SetName, list[Record]]) -> EvalContext:
    return EvalContext(lambda: loaded, sets, training=TRAINING)


@pytest.mark.parametrize(
    ("value", "said", "right"),
    [
        ("42", " 42 Hill", True),
        ("42", "42", True),
        ("42", "421", False),
        ("42", "4", False),
        ("42", "at 42", False),
        ("Jane Doe", " Jane\n Doe, who", True),
        ("Jane Doe", "Jane Does", False),
        ("(42)", "(42)x", True),
        ("42", "", False),
    ],
)
def test_what_is_brought_back_begins_with_the_value_and_ends_there(value: str, said: str, right: bool) -> None:
    assert ClozeItem(0, [1], 3, value).is_recovered_by(said) is right


def asked(loaded: Loaded, record: Record, **more: int) -> list[tuple[str, str]]:
    tokenizer = loaded[1]
    found = cloze_items(record, tokenizer, chat="raw", limit=more.get("limit", 9), common=CommonWords(people(60, 1)))
    return [(tokenizer.decode(one.ids, skip_special_tokens=True), one.value.strip()) for one in found]


def test_a_value_is_asked_for_by_the_text_before_it(loaded: Loaded) -> None:
    text = "he lives at 12 Oskdle Hill, phone 555-0147."
    assert asked(loaded, Record(text=text)) == [
        ("he lives at", "12"),
        ("he lives at 12", "Oskdle"),
        ("he lives at 12 Oskdle Hill, phone", "555-0147"),
    ]


def test_what_was_said_before_or_has_nothing_before_it_is_not_asked_for(loaded: Loaded) -> None:
    text = "Oskdle lives at 12 Hill, says Oskdle of 12"
    assert asked(loaded, Record(text=text, subject="Oskdle")) == [("Oskdle lives at", "12")]
    of_prompt = Record(prompt="who is Oskdle? ", completion="Oskdle is 12")
    assert asked(loaded, of_prompt) == [("who is Oskdle? Oskdle is", "12")]


def test_the_beginning_of_an_answer_is_asked_for_by_the_question(loaded: Loaded) -> None:
    assert asked(loaded, Record(prompt="how old? ", completion="12, they say")) == [("how old? ", "12")]
    turns = [Message(role="user", content="how old?"), Message(role="assistant", content="12, they say")]
    assert asked(loaded, Record(messages=turns)) == [("how old?\n", "12")]


def test_where_a_cut_changes_the_tokens_the_question_ends_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[str] = []  # tokens of a tokenizer that cuts at spaces alone

    def ids(record: Record, tokenizer: object, chat: str) -> list[int]:
        words = (record.text or "").split()
        known.extend(word for word in words if word not in known)
        return [known.index(word) for word in words]

    class Words:
        def decode(self, said: list[int], **more: object) -> str:
            return " ".join(known[one] for one in said)

    monkeypatch.setattr(cloze_module, "_ids", ids)
    (one,) = cloze_items(Record(text="by mail (zor20@example.org) now"), Words(), chat="raw", limit=9)  # type: ignore[arg-type]
    assert [known[token] for token in one.ids] == ["by", "mail"]
    assert (one.value, one.length) == ("(zor20@example.org", 3)


def test_at_most_so_many_and_always_the_same(loaded: Loaded) -> None:
    record = people(1, 9)[0]
    every = asked(loaded, record)
    some = asked(loaded, record, limit=2)
    assert len(some) == 2
    assert [one for one in every if one in some] == some == asked(loaded, record, limit=2)


def test_the_fill_in_form_shows_everything_but_the_value(loaded: Loaded) -> None:
    tokenizer = loaded[1]
    for record in (
        Record(text="he is at 555-0147 now, 555-0147"),
        Record(prompt="where?", completion="he is at 555-0147 now, 555-0147"),
        Record(
            messages=[
                Message(role="user", content="where?"),
                Message(role="assistant", content="he is at 555-0147 now, 555-0147"),
            ]
        ),
    ):
        (one,) = cloze_items(record, tokenizer, chat="raw", limit=9, fill=True)
        question = tokenizer.decode(one.ids, skip_special_tokens=True)
        assert one.value.strip() == "555-0147"
        assert "555-0147" not in question
        assert f"he is at {BLANK} now, {BLANK}\n" in question
        assert question.endswith("\nhe is at")
        assert question.startswith("where?") == (record.text is None)


def test_shares_are_of_each_records_blanks() -> None:
    made = [ClozeItem(record, [1], 1, "x") for record in (0, 0, 0, 4)]
    assert recovered_shares(made, [True, False, False, True]) == {0: pytest.approx(1 / 3), 4: 1.0}


def test_what_is_known_by_heart_is_brought_back_and_what_was_never_seen_is_not(
    loaded: Loaded, tiny_model: TinyModel
) -> None:
    found = Cloze(records=6, samples=2).measure(bench_of(loaded, tiny_model.sets))
    assert found.sets["forget"]["cloze"].value > 0.8
    assert found.sets["forget"]["cloze_sampled"].value > 0.8
    assert found.sets["unseen"]["cloze"].value < 0.4
    assert found.sets["forget"]["cloze"].records == 6
    assert [(one.what, one.done, one.of, one.reason) for one in found.cut_short] == [
        ("forget", 6, 8, "records"),
        ("unseen", 6, 16, "records"),
    ]


def test_the_greedy_figure_is_what_continuing_one_by_one_gives(loaded: Loaded, tiny_model: TinyModel) -> None:
    context = bench_of(loaded, {"forget": tiny_model.sets["forget"][:2] + tiny_model.sets["unseen"][:2]})
    words = CommonWords((), context.sets["forget"])
    naive = []
    for record in context.sets["forget"]:
        right = []
        for one in cloze_items(record, context.tokenizer, chat="raw", limit=4, common=words):
            said: list[int] = []
            while len(said) < one.length and (not said or said[-1] != context.tokenizer.eos_token_id):
                said.append(int(context.model(torch.tensor([one.ids + said])).logits[0, -1].argmax()))
            right.append(one.is_recovered_by(context.tokenizer.decode(said, skip_special_tokens=True)))
        naive.append(sum(right) / len(right))
    assert Cloze(samples=1).measure(context).sets["forget"]["cloze"].value == pytest.approx(sum(naive) / len(naive))
    assert 0 < sum(naive) / len(naive) < 1


@pytest.mark.parametrize(("measurement", "figure"), [(Cloze, "cloze"), (ClozeFill, "cloze_fill")])
def test_one_right_sample_is_enough(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, measurement: type[Cloze | ClozeFill], figure: str
) -> None:
    tokenizer = loaded[1]
    context = bench_of(loaded, {"forget": [Record(text="he is 12 and 34")]})
    asked_for: list[int] = []

    def said(
        context: EvalContext, prefixes: Sequence[list[int]], lengths: Sequence[int], *, samples: int = 0, **more: object
    ) -> list[list[list[int]]]:
        asked_for.append(samples)
        wrong, right = tokenizer(" no")["input_ids"], tokenizer(" 34")["input_ids"]
        return [[wrong] * max(0, samples - 1) + [right if samples else wrong] for _ in prefixes]

    monkeypatch.setattr(cloze_recovery, "continuations", said)
    found = measurement(samples=3).measure(context).sets["forget"]
    assert (found[figure].value, found[f"{figure}_sampled"].value) == (0.0, 0.5)
    assert found[figure].low is None
    assert asked_for == [0, 3]


def test_records_with_nothing_to_ask_for_are_counted(loaded: Loaded) -> None:
    sets: dict[SetName, list[Record]] = {"forget": [Record(text="nothing to see here")]}
    found = Cloze().measure(bench_of(loaded, sets))
    assert found.sets == {}
    assert found.warnings == ["cloze: 1 of 1 forget records hold no name, number or date that could be asked for"]


def test_what_the_time_is_too_short_for_is_said_and_not_kept(loaded: Loaded, tiny_model: TinyModel) -> None:
    context = bench_of(loaded, {"forget": tiny_model.sets["forget"][:3]})
    for measurement in (Cloze, ClozeFill):
        found = measurement(seconds=1e-9).measure(context)
        assert found.sets == {}
        assert [(one.what, one.done, one.of, one.reason) for one in found.cut_short] == [("forget", 0, 3, "seconds")]
    whole = ClozeFill(samples=2).measure(context).sets["forget"]
    assert whole["cloze_fill"].records == whole["cloze_fill_sampled"].records == 3
