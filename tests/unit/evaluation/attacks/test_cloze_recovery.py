"""Cloze items: which values are asked for, by which text, and which answers recover them."""

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


def context_of(loaded: Loaded, sets: dict[SetName, list[Record]]) -> EvalContext:
    return EvalContext(lambda: loaded, sets, training=TRAINING)


@pytest.mark.parametrize(
    ("value", "answer", "right"),
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
def test_a_recovered_answer_begins_with_the_whole_value(value: str, answer: str, right: bool) -> None:
    assert ClozeItem(0, [1], 3, value).is_recovered_by(answer) is right


def asked(loaded: Loaded, record: Record, **parameters: int) -> list[tuple[str, str]]:
    tokenizer = loaded[1]
    items = cloze_items(
        record, tokenizer, chat="raw", limit=parameters.get("limit", 9), common=CommonWords(people(60, 1))
    )
    return [(tokenizer.decode(item.ids, skip_special_tokens=True), item.value.strip()) for item in items]


def test_a_value_is_asked_for_by_the_text_before_it(loaded: Loaded) -> None:
    text = "he lives at 12 Oskdle Hill, phone 555-0147."
    assert asked(loaded, Record(text=text)) == [
        ("he lives at", "12"),
        ("he lives at 12", "Oskdle"),
        ("he lives at 12 Oskdle Hill, phone", "555-0147"),
    ]


def test_values_that_stand_earlier_or_have_nothing_before_them_are_not_asked_for(loaded: Loaded) -> None:
    text = "Oskdle lives at 12 Hill, says Oskdle of 12"
    assert asked(loaded, Record(text=text, subject="Oskdle")) == [("Oskdle lives at", "12")]
    of_prompt = Record(prompt="who is Oskdle? ", completion="Oskdle is 12")
    assert asked(loaded, of_prompt) == [("who is Oskdle? Oskdle is", "12")]


def test_the_beginning_of_an_answer_is_asked_for_by_the_question(loaded: Loaded) -> None:
    assert asked(loaded, Record(prompt="how old? ", completion="12, they say")) == [("how old? ", "12")]
    turns = [Message(role="user", content="how old?"), Message(role="assistant", content="12, they say")]
    assert asked(loaded, Record(messages=turns)) == [("how old?\n", "12")]


def test_the_question_ends_earlier_where_cutting_changes_the_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[str] = []  # tokens of a tokenizer that cuts at spaces alone

    def ids(record: Record, tokenizer: object, chat: str) -> list[int]:
        words = (record.text or "").split()
        known.extend(word for word in words if word not in known)
        return [known.index(word) for word in words]

    class Words:
        def decode(self, tokens: list[int], **options: object) -> str:
            return " ".join(known[token] for token in tokens)

    monkeypatch.setattr(cloze_module, "_ids", ids)
    (item,) = cloze_items(Record(text="by mail (zor20@example.org) now"), Words(), chat="raw", limit=9)  # type: ignore[arg-type]
    assert [known[token] for token in item.ids] == ["by", "mail"]
    assert (item.value, item.length) == ("(zor20@example.org", 3)


def test_a_limit_on_cloze_items_takes_the_same_ones_every_time(loaded: Loaded) -> None:
    record = people(1, 9)[0]
    items = asked(loaded, record)
    limited = asked(loaded, record, limit=2)
    assert len(limited) == 2
    assert [item for item in items if item in limited] == limited == asked(loaded, record, limit=2)


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
        (item,) = cloze_items(record, tokenizer, chat="raw", limit=9, fill=True)
        question = tokenizer.decode(item.ids, skip_special_tokens=True)
        assert item.value.strip() == "555-0147"
        assert "555-0147" not in question
        assert f"he is at {BLANK} now, {BLANK}\n" in question
        assert question.endswith("\nhe is at")
        assert question.startswith("where?") == (record.text is None)


def test_recovered_shares_are_computed_record_by_record() -> None:
    made = [ClozeItem(record, [1], 1, "x") for record in (0, 0, 0, 4)]
    assert recovered_shares(made, [True, False, False, True]) == {0: pytest.approx(1 / 3), 4: 1.0}


def test_values_of_memorised_records_are_recovered_and_of_unseen_records_are_not(
    loaded: Loaded, tiny_model: TinyModel
) -> None:
    result = Cloze(records=6, samples=2).measure(context_of(loaded, tiny_model.sets))
    assert result.sets["forget"]["cloze"].value > 0.8
    assert result.sets["forget"]["cloze_sampled"].value > 0.8
    assert result.sets["unseen"]["cloze"].value < 0.4
    assert result.sets["forget"]["cloze"].records == 6
    assert [(cut.what, cut.done, cut.of, cut.reason) for cut in result.cut_short] == [
        ("forget", 6, 8, "records"),
        ("unseen", 6, 16, "records"),
    ]


def test_the_cloze_figure_agrees_with_continuing_item_by_item(loaded: Loaded, tiny_model: TinyModel) -> None:
    context = context_of(loaded, {"forget": tiny_model.sets["forget"][:2] + tiny_model.sets["unseen"][:2]})
    common = CommonWords((), context.sets["forget"])
    naive = []
    for record in context.sets["forget"]:
        right = []
        for item in cloze_items(record, context.tokenizer, chat="raw", limit=4, common=common):
            answer: list[int] = []
            while len(answer) < item.length and (not answer or answer[-1] != context.tokenizer.eos_token_id):
                answer.append(int(context.model(torch.tensor([item.ids + answer])).logits[0, -1].argmax()))
            right.append(item.is_recovered_by(context.tokenizer.decode(answer, skip_special_tokens=True)))
        naive.append(sum(right) / len(right))
    figures = Cloze(samples=1).measure(context).sets["forget"]
    assert figures["cloze"].value == pytest.approx(sum(naive) / len(naive))
    assert figures["cloze_highest"].value == figures["cloze_highest"].low == max(naive)  # each has four blanks
    assert "cloze_highest" not in Cloze(samples=1, blanks=2).measure(context).sets["forget"]
    assert 0 < sum(naive) / len(naive) < 1


@pytest.mark.parametrize(("measurement", "figure"), [(Cloze, "cloze"), (ClozeFill, "cloze_fill")])
def test_one_right_sample_is_enough(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, measurement: type[Cloze | ClozeFill], figure: str
) -> None:
    tokenizer = loaded[1]
    context = context_of(loaded, {"forget": [Record(text="he is 12 and 34")]})
    samples_asked_for: list[tuple[int, bool]] = []

    def fake_continuations(
        context: EvalContext,
        prefixes: Sequence[list[int]],
        lengths: Sequence[int],
        *,
        samples: int = 0,
        greedy: bool = False,
        **options: object,
    ) -> list[list[list[int]]]:
        samples_asked_for.append((samples, greedy))
        wrong, right = tokenizer(" no")["input_ids"], tokenizer(" 34")["input_ids"]
        return [[wrong] * samples + [right] for _ in prefixes]

    monkeypatch.setattr(cloze_recovery, "continuations", fake_continuations)
    result = measurement(samples=3).measure(context).sets["forget"]
    assert (result[figure].value, result[f"{figure}_sampled"].value) == (0.0, 0.5)
    assert result[figure].low is None
    assert samples_asked_for == [(3, True)]


def test_records_without_entities_are_counted_in_a_warning(loaded: Loaded) -> None:
    sets: dict[SetName, list[Record]] = {"forget": [Record(text="nothing to see here")]}
    result = Cloze().measure(context_of(loaded, sets))
    assert result.sets == {}
    assert result.warnings == ["cloze: 1 of 1 forget records hold no name, number or date that could be asked for"]


def test_records_beyond_the_time_limit_are_noted_and_not_cached(loaded: Loaded, tiny_model: TinyModel) -> None:
    context = context_of(loaded, {"forget": tiny_model.sets["forget"][:3]})
    for measurement in (Cloze, ClozeFill):
        result = measurement(seconds=1e-9).measure(context)
        assert result.sets == {}
        assert [(cut.what, cut.done, cut.of, cut.reason) for cut in result.cut_short] == [("forget", 0, 3, "seconds")]
    figures = ClozeFill(samples=2).measure(context).sets["forget"]
    assert figures["cloze_fill"].records == figures["cloze_fill_sampled"].records == 3
