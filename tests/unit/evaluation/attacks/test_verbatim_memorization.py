"""Verbatim, sampled, prefixed and paraphrased prompts, on a model that has memorised its records."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.demo.people import people
from core.evaluation.attacks import verbatim_memorization
from core.evaluation.attacks.paraphrased_prompts import paraphrased_records
from core.evaluation.eval_context import EvalContext
from core.evaluation.measurements import MEASUREMENTS, resolve_measurements
from core.evaluation.measurements.prefix import PREFIXES
from core.evaluation.text.prefixes import insert_words, split_prefix
from core.schema.evaluation import MeasurementChoice, MeasurementResult, SetName
from core.schema.record import Message, Record
from tests.tiny_model import TinyModel
from tests.unit.evaluation.test_runner import TRAINING
from tests.unit.lm.tiny import EOS, tiny_tokenizer
from tests.unit.lm.tiny import tiny_model as random_model

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def context_of(loaded: Any, sets: dict[SetName, list[Record]], **changes: Any) -> EvalContext:
    return EvalContext(lambda: loaded, sets, training=TRAINING.model_copy(update=changes))


def measured(context: EvalContext, name: str, **parameters: Any) -> MeasurementResult:
    choice = MeasurementChoice.model_validate({"name": name, **parameters})
    return resolve_measurements([choice])[0].measure(context)


def finite(result: MeasurementResult) -> bool:
    return "NaN" not in json.dumps(result.model_dump()) and "Infinity" not in json.dumps(result.model_dump())


def questions(records: list[Record], first: int = 6) -> list[Record]:
    """A record's first words as the prompt, what follows as the answer."""
    asked = []
    for record in records:
        words = (record.text or "").split(" ")
        prompt = " ".join(words[:first])
        asked.append(Record(prompt=prompt, completion=" " + " ".join(words[first:]), paraphrases=[prompt, "Say: what"]))
    return asked


def test_memorised_records_are_recited_and_unseen_records_are_not(loaded: Loaded, tiny_model: TinyModel) -> None:
    result = measured(context_of(loaded, tiny_model.sets), "verbatim")
    forget, unseen = result.sets["forget"], result.sets["unseen"]
    assert set(result.sets) == {"forget", "unseen"}
    assert forget["verbatim_recall"].value > 0.9 > 0.6 > unseen["verbatim_recall"].value
    assert forget["verbatim_f1"].value > 0.9
    tokens = np.mean([len(loaded[1](record.text)["input_ids"]) for record in tiny_model.sets["forget"]])
    assert 0.4 * tokens < forget["verbatim_longest"].value <= 0.5 * tokens + 1
    assert forget["verbatim_recall"].records == 8
    highest = forget["verbatim_recall_highest"]
    assert highest.value == highest.low == highest.high >= forget["verbatim_recall"].value
    assert unseen["verbatim_recall_highest"].value < 0.9
    assert forget["verbatim_recall"].low is not None
    assert result.cut_short == []
    assert result.warnings == []
    kept = measured(context_of(loaded, tiny_model.sets), "verbatim_retain")
    assert set(kept.sets) == {"retain"}
    assert kept.sets["retain"]["verbatim_recall"].value > 0.9


def test_the_highest_recall_is_of_continuations_that_cannot_be_guessed() -> None:
    recalls, lengths = np.array([1.0, 0.4, 0.6]), np.array([7.0, 8.0, 30.0])
    highest = verbatim_memorization.highest_recall({"recall": recalls, "length": lengths})
    assert highest is not None
    assert (highest.value, highest.low, highest.high, highest.records) == (0.6, 0.6, 0.6, 2)
    assert verbatim_memorization.highest_recall({"recall": recalls[:1], "length": lengths[:1]}) is None


def test_limits_on_records_and_tokens_are_deterministic_and_noted(loaded: Loaded, tiny_model: TinyModel) -> None:
    first, second = (measured(context_of(loaded, tiny_model.sets), "verbatim", records=3, tokens=4) for _ in range(2))
    assert first == second
    assert [(cut.what, cut.done, cut.of, cut.reason) for cut in first.cut_short] == [
        ("forget", 3, 8, "records"),
        ("unseen", 3, 16, "records"),
    ]
    assert first.sets["forget"]["verbatim_recall"].records == 3
    assert first.sets["forget"]["verbatim_longest"].value <= 4


def test_records_beyond_the_time_limit_are_left_out_and_noted(
    loaded: Loaded, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbatim_memorization, "BATCH", 2)
    result = measured(context_of(loaded, tiny_model.sets), "verbatim", seconds=1e-9)
    assert [(cut.done, cut.of, cut.reason) for cut in result.cut_short] == [(2, 8, "seconds"), (2, 16, "seconds")]
    assert result.sets["forget"]["verbatim_recall"].records == 2


def test_more_samples_leak_no_less_and_the_same_every_time(loaded: Loaded, tiny_model: TinyModel) -> None:
    context = context_of(loaded, tiny_model.sets)
    two, again, eight = (measured(context, "sampled_leak", samples=count, records=6) for count in (2, 2, 8))
    other = measured(context_of(loaded, tiny_model.sets, seed=5), "sampled_leak", samples=2, records=6)
    assert two == again == measured(context_of(loaded, tiny_model.sets), "sampled_leak", samples=2, records=6)
    assert other.sets["unseen"]["sampled_leak_recall"].value != two.sets["unseen"]["sampled_leak_recall"].value
    for name in ("sampled_leak_recall", "sampled_leak_longest"):
        assert eight.sets["unseen"][name].value > two.sets["unseen"][name].value
        assert eight.sets["forget"][name].value > eight.sets["unseen"][name].value


def test_the_prefix_that_leaks_most_counts_for_each_record(loaded: Loaded, tiny_model: TinyModel) -> None:
    context = context_of(loaded, tiny_model.sets)
    result = measured(context, "prefix")
    by_prefix = []
    for prefix in PREFIXES:
        columns, _ = verbatim_memorization.memorization_columns(
            context,
            "unseen",
            limit=None,
            tokens=128,
            openings=[prefix],
            budget=resolve_measurements(["prefix"])[0].budget(context),
        )
        by_prefix.append(columns)
    for name in ("recall", "longest"):
        highest = np.max([columns[name] for columns in by_prefix], axis=0).mean()
        assert result.sets["unseen"][f"prefix_{name}"].value == pytest.approx(highest)
        assert highest > max(columns[name].mean() for columns in by_prefix)
    assert set(result.sets) == {"forget", "unseen"}


@pytest.mark.parametrize("form", ["text", "prompt"])
def test_the_prefix_probability_is_the_true_continuations_behind_the_best_prefix(loaded: Loaded, form: str) -> None:
    model, tokenizer = loaded
    texts = people(3, 21)
    records = texts if form == "text" else questions(texts)
    expected = []
    for record in records:
        split = split_prefix(record, tokenizer, length=512, chat="raw", tokens=20)
        probabilities = []
        for prefix in PREFIXES:
            words = tokenizer(f" {prefix} ", add_special_tokens=False)["input_ids"]
            prefixed = insert_words(record, words, split, tokenizer.all_special_ids)
            with torch.no_grad():
                log_p = (
                    model(torch.tensor([prefixed.prefix + prefixed.continuation])).logits[0].double().log_softmax(-1)
                )
            positions = range(len(prefixed.prefix) - 1, len(prefixed.prefix) + len(prefixed.continuation) - 1)
            log_probabilities = [
                float(log_p[position, token]) for position, token in zip(positions, prefixed.continuation, strict=True)
            ]
            probabilities.append(math.exp(sum(log_probabilities) / len(log_probabilities)))
        expected.append(max(probabilities))
        assert max(probabilities) > min(probabilities)
    result = measured(context_of(loaded, {"forget": records}), "prefix", tokens=20)
    assert result.sets["forget"]["prefix_probability"].value == pytest.approx(np.mean(expected), rel=1e-5)


def test_words_are_inserted_before_a_plain_text_and_behind_a_prompt() -> None:
    tokenizer = tiny_tokenizer()
    text = split_prefix(Record(text="w1 w2 w3 w4 w5"), tokenizer, length=64, chat="raw", tokens=9)
    assert (text.prefix, text.continuation) == ([0, 4, 5], [6, 7, 8])
    assert insert_words(Record(text="w1"), [90, 91], text, [0, 1, 2]).prefix == [0, 90, 91, 4, 5]
    asked = Record(prompt="w1 w2", completion="w3 w4")
    prompt = split_prefix(asked, tokenizer, length=64, chat="raw", tokens=9)
    assert (prompt.prefix, prompt.continuation, prompt.truncated) == ([0, 4, 5], [6, 7], False)
    assert insert_words(asked, [90], prompt, [0, 1, 2]).prefix == [0, 4, 5, 90]


def test_long_prompts_lose_their_beginning_and_leave_half_of_the_room() -> None:
    tokenizer = tiny_tokenizer()
    prompt, answer = (" ".join(f"w{number}" for number in range(start, start + 20)) for start in (0, 40))
    both_long = split_prefix(Record(prompt=prompt, completion=answer), tokenizer, length=16, chat="raw", tokens=99)
    assert both_long.prefix == list(range(15, 23))
    assert both_long.continuation == list(range(43, 51))
    assert both_long.truncated
    long_prompt = split_prefix(Record(prompt=prompt, completion="w1"), tokenizer, length=16, chat="raw", tokens=99)
    assert (long_prompt.prefix, long_prompt.continuation) == (list(range(8, 23)), [4])
    text = split_prefix(Record(text=prompt), tokenizer, length=16, chat="raw", tokens=5)
    assert (text.prefix, text.continuation, text.truncated) == ([0, *range(3, 10)], list(range(10, 15)), False)


def test_records_without_a_continuation_are_left_out_and_counted() -> None:
    bare = (random_model(dtype=torch.float32), tiny_tokenizer("$A"))
    odd = [Record(text="w1"), Record(prompt="", completion="w5"), Record(text="w1 w2 w3"), Record(text="w3 w2")]
    long = Record(prompt=" ".join(["w7"] * 99), completion="w1 w2")
    for name in ("verbatim", "sampled_leak", "prefix"):
        result = measured(
            context_of(bare, {"forget": [*odd, long], "unseen": [Record(text="w1")]}, max_length=32), name
        )
        assert finite(result)
        assert f"{name}: forget: 2 of 5 records are too short to be continued, and are left out" in result.warnings
        assert f"{name}: forget: 1 prompts are longer than 32 tokens, and lost their beginning" in result.warnings
        assert result.sets["forget"][f"{name}_recall"].records == 3
        assert "unseen" not in result.sets
        assert "w7" not in result.model_dump_json()


def test_a_model_that_writes_nothing_recites_nothing() -> None:
    model = random_model(dtype=torch.float32)
    model.generation_config.eos_token_id = list(range(97))
    context = context_of((model, tiny_tokenizer()), {"forget": [Record(text="w1 w2 w3 w4"), Record(text="w5 w6 w7")]})
    figures = measured(context, "verbatim").sets["forget"]
    assert [figure.value for figure in figures.values()] == [0.0, 0.0, 0.0]
    model.generation_config.eos_token_id = EOS


def test_paraphrase_figures_are_means_over_the_paraphrases_of_a_record(loaded: Loaded, tiny_model: TinyModel) -> None:
    asked = questions(tiny_model.sets["forget"])
    context = context_of(loaded, {"probes": asked, "forget": [*asked[:2], *tiny_model.sets["forget"][2:]]})
    result = measured(context, "paraphrase")
    assert result.warnings == ["paraphrase: forget: 6 of 8 records have no paraphrases, and are left out"]
    assert result.sets["forget"]["paraphrase_recall"].records == 2
    by_paraphrase = [
        [record.model_copy(update={"paraphrases": [(record.paraphrases or [])[index]]}) for record in asked]
        for index in (0, 1)
    ]
    first_only, second_only = (
        measured(context_of(loaded, {"probes": records}), "paraphrase") for records in by_paraphrase
    )
    for name in ("paraphrase_recall", "paraphrase_probability"):
        mean = result.sets["probes"][name].value
        first, second = first_only.sets["probes"][name].value, second_only.sets["probes"][name].value
        assert mean == pytest.approx((first + second) / 2, rel=1e-4)
        assert first > second
    assert first_only == measured(context, "paraphrase", each=1).model_copy(
        update={"sets": {"probes": first_only.sets["probes"]}, "warnings": []}
    )
    statistics = context.statistics(
        [record.model_copy(update={"prompt": "Say: what"}) for record in asked], label="probes"
    )
    naive = np.mean([math.exp(sum(tokens.log_probability) / len(tokens.log_probability)) for tokens in statistics])
    assert second_only.sets["probes"]["paraphrase_probability"].value == pytest.approx(naive, rel=1e-4)


def test_the_limit_counts_only_records_with_paraphrases(loaded: Loaded, tiny_model: TinyModel) -> None:
    context = context_of(loaded, {"probes": [*tiny_model.sets["unseen"], *questions(tiny_model.sets["forget"])[:3]]})
    result = measured(context, "paraphrase", records=2)
    assert result.sets["probes"]["paraphrase_recall"].records == 2
    assert [(cut.done, cut.of) for cut in result.cut_short] == [(2, 3)]


def test_probes_without_paraphrases_give_a_warning(loaded: Loaded, tiny_model: TinyModel) -> None:
    blank = [Record(prompt="a", completion="b", paraphrases=[" "])]
    context = context_of(loaded, {"probes": blank, "forget": tiny_model.sets["forget"]})
    result = measured(context, "paraphrase")
    assert result.sets == {}
    assert result.warnings == ["paraphrase: probes: no record has paraphrases"]
    assert measured(context_of(loaded, {"forget": blank}), "paraphrase").warnings == []


def test_a_paraphrase_replaces_the_last_question_of_a_conversation() -> None:
    turns = [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    chat = Record(messages=[Message(role=role, content=content) for role, content in turns], paraphrases=["x"])
    (paraphrased,) = paraphrased_records(chat)
    assert [message.content for message in paraphrased.messages or ()] == ["s", "a", "b", "x", "d"]
    (text,) = paraphrased_records(Record(text="t", paraphrases=["x", " "]))
    assert (text.prompt, text.completion) == ("x", "t")


def test_memorization_measurements_are_in_the_documented_groups() -> None:
    groups = {name: MEASUREMENTS[name].group for name in ("verbatim", "paraphrase", "sampled_leak", "prefix")}
    assert groups == {
        "verbatim": "standard",
        "paraphrase": "standard",
        "sampled_leak": "thorough",
        "prefix": "thorough",
    }
