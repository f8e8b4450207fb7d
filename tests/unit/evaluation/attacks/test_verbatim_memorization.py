"""Verbatim, sampled, prefixed and paraphrased: what a model that knows its records by heart gives back."""

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


def bench_of(loaded: Any, sets: dict[SetName, list[Record]], **changes: Any) -> EvalContext:
    return EvalContext(lambda: loaded, sets, training=TRAINING.model_copy(update=changes))


def measured(context: EvalContext, name: str, **parameters: Any) -> MeasurementResult:
    choice = MeasurementChoice.model_validate({"name": name, **parameters})
    return resolve_measurements([choice])[0].measure(context)


def finite(found: MeasurementResult) -> bool:
    return "NaN" not in json.dumps(found.model_dump()) and "Infinity" not in json.dumps(found.model_dump())


def questions(records: list[Record], first: int = 6) -> list[Record]:
    """A record's first words as the prompt, what follows as the answer."""
    made = []
    for record in records:
        words = (record.text or "").split(" ")
        prompt = " ".join(words[:first])
        made.append(Record(prompt=prompt, completion=" " + " ".join(words[first:]), paraphrases=[prompt, "Say: what"]))
    return made


def test_what_is_known_by_heart_is_recited_and_what_is_not_known_is_not(loaded: Loaded, tiny_model: TinyModel) -> None:
    found = measured(bench_of(loaded, tiny_model.sets), "verbatim")
    forget, unseen = found.sets["forget"], found.sets["unseen"]
    assert set(found.sets) == {"forget", "unseen"}
    assert forget["verbatim_recall"].value > 0.9 > 0.6 > unseen["verbatim_recall"].value
    assert forget["verbatim_f1"].value > 0.9
    tokens = np.mean([len(loaded[1](record.text)["input_ids"]) for record in tiny_model.sets["forget"]])
    assert 0.4 * tokens < forget["verbatim_longest"].value <= 0.5 * tokens + 1
    assert forget["verbatim_recall"].records == 8
    assert forget["verbatim_recall"].low is not None
    assert found.cut_short == []
    assert found.warnings == []
    kept = measured(bench_of(loaded, tiny_model.sets), "verbatim_retain")
    assert set(kept.sets) == {"retain"}
    assert kept.sets["retain"]["verbatim_recall"].value > 0.9


def test_limits_on_records_and_tokens_are_deterministic_and_noted(loaded: Loaded, tiny_model: TinyModel) -> None:
    one, two = (measured(bench_of(loaded, tiny_model.sets), "verbatim", records=3, tokens=4) for _ in range(2))
    assert one == two
    assert [(cut.what, cut.done, cut.of, cut.reason) for cut in one.cut_short] == [
        ("forget", 3, 8, "records"),
        ("unseen", 3, 16, "records"),
    ]
    assert one.sets["forget"]["verbatim_recall"].records == 3
    assert one.sets["forget"]["verbatim_longest"].value <= 4


def test_time_that_is_up_leaves_out_records_and_says_so(
    loaded: Loaded, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbatim_memorization, "BATCH", 2)
    found = measured(bench_of(loaded, tiny_model.sets), "verbatim", seconds=1e-9)
    assert [(cut.done, cut.of, cut.reason) for cut in found.cut_short] == [(2, 8, "seconds"), (2, 16, "seconds")]
    assert found.sets["forget"]["verbatim_recall"].records == 2


def test_the_best_of_more_samples_is_no_lower_and_the_same_every_time(loaded: Loaded, tiny_model: TinyModel) -> None:
    context = bench_of(loaded, tiny_model.sets)
    two, again, eight = (measured(context, "sampled_leak", samples=count, records=6) for count in (2, 2, 8))
    other = measured(bench_of(loaded, tiny_model.sets, seed=5), "sampled_leak", samples=2, records=6)
    assert two == again == measured(bench_of(loaded, tiny_model.sets), "sampled_leak", samples=2, records=6)
    assert other.sets["unseen"]["sampled_leak_recall"].value != two.sets["unseen"]["sampled_leak_recall"].value
    for name in ("sampled_leak_recall", "sampled_leak_longest"):
        assert eight.sets["unseen"][name].value > two.sets["unseen"][name].value
        assert eight.sets["forget"][name].value > eight.sets["unseen"][name].value


def test_the_worst_prefix_counts_for_each_record(loaded: Loaded, tiny_model: TinyModel) -> None:
    context = bench_of(loaded, tiny_model.sets)
    found = measured(context, "prefix")
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
        assert found.sets["unseen"][f"prefix_{name}"].value == pytest.approx(highest)
        assert highest > max(columns[name].mean() for columns in by_prefix)
    assert set(found.sets) == {"forget", "unseen"}


@pytest.mark.parametrize("form", ["text", "prompt"])
def test_the_probability_is_that_of_the_true_rest_behind_the_most_telling_prefix(loaded: Loaded, form: str) -> None:
    model, tokenizer = loaded
    texts = people(3, 21)
    records = texts if form == "text" else questions(texts)
    wanted = []
    for record in records:
        given = split_prefix(record, tokenizer, length=512, chat="raw", tokens=20)
        likely = []
        for words in PREFIXES:
            said = tokenizer(f" {words} ", add_special_tokens=False)["input_ids"]
            start = insert_words(record, said, given, tokenizer.all_special_ids)
            with torch.no_grad():
                log_p = model(torch.tensor([start.prefix + start.continuation])).logits[0].double().log_softmax(-1)
            places = range(len(start.prefix) - 1, len(start.prefix) + len(start.continuation) - 1)
            each = [float(log_p[place, token]) for place, token in zip(places, start.continuation, strict=True)]
            likely.append(math.exp(sum(each) / len(each)))
        wanted.append(max(likely))
        assert max(likely) > min(likely)
    found = measured(bench_of(loaded, {"forget": records}), "prefix", tokens=20)
    assert found.sets["forget"]["prefix_probability"].value == pytest.approx(np.mean(wanted), rel=1e-5)


def test_a_prefix_stands_before_a_text_and_behind_a_prompt() -> None:
    tokenizer = tiny_tokenizer()
    text = split_prefix(Record(text="w1 w2 w3 w4 w5"), tokenizer, length=64, chat="raw", tokens=9)
    assert (text.prefix, text.continuation) == ([0, 4, 5], [6, 7, 8])
    assert insert_words(Record(text="w1"), [90, 91], text, [0, 1, 2]).prefix == [0, 90, 91, 4, 5]
    asked = Record(prompt="w1 w2", completion="w3 w4")
    prompt = split_prefix(asked, tokenizer, length=64, chat="raw", tokens=9)
    assert (prompt.prefix, prompt.continuation, prompt.truncated) == ([0, 4, 5], [6, 7], False)
    assert insert_words(asked, [90], prompt, [0, 1, 2]).prefix == [0, 4, 5, 90]


def test_long_prompts_lose_their_left_and_leave_half_of_the_room() -> None:
    tokenizer = tiny_tokenizer()
    prompt, answer = (" ".join(f"w{number}" for number in range(start, start + 20)) for start in (0, 40))
    both = split_prefix(Record(prompt=prompt, completion=answer), tokenizer, length=16, chat="raw", tokens=99)
    assert both.prefix == list(range(15, 23))
    assert both.continuation == list(range(43, 51))
    assert both.truncated
    few = split_prefix(Record(prompt=prompt, completion="w1"), tokenizer, length=16, chat="raw", tokens=99)
    assert (few.prefix, few.continuation) == (list(range(8, 23)), [4])
    text = split_prefix(Record(text=prompt), tokenizer, length=16, chat="raw", tokens=5)
    assert (text.prefix, text.continuation, text.truncated) == ([0, *range(3, 10)], list(range(10, 15)), False)


def test_records_with_nothing_left_to_say_are_left_out_with_a_count() -> None:
    bare = (random_model(dtype=torch.float32), tiny_tokenizer("$A"))
    odd = [Record(text="w1"), Record(prompt="", completion="w5"), Record(text="w1 w2 w3"), Record(text="w3 w2")]
    long = Record(prompt=" ".join(["w7"] * 99), completion="w1 w2")
    for name in ("verbatim", "sampled_leak", "prefix"):
        found = measured(bench_of(bare, {"forget": [*odd, long], "unseen": [Record(text="w1")]}, max_length=32), name)
        assert finite(found)
        assert f"{name}: forget: 2 of 5 records are too short to be continued, and are left out" in found.warnings
        assert f"{name}: forget: 1 prompts are longer than 32 tokens, and lost their beginning" in found.warnings
        assert found.sets["forget"][f"{name}_recall"].records == 3
        assert "unseen" not in found.sets
        assert "w7" not in found.model_dump_json()


def test_a_model_that_says_nothing_recites_nothing() -> None:
    model = random_model(dtype=torch.float32)
    model.generation_config.eos_token_id = list(range(97))
    context = bench_of((model, tiny_tokenizer()), {"forget": [Record(text="w1 w2 w3 w4"), Record(text="w5 w6 w7")]})
    figures = measured(context, "verbatim").sets["forget"]
    assert [one.value for one in figures.values()] == [0.0, 0.0, 0.0]
    model.generation_config.eos_token_id = EOS


def test_paraphrases_are_asked_and_their_mean_taken(loaded: Loaded, tiny_model: TinyModel) -> None:
    asked = questions(tiny_model.sets["forget"])
    context = bench_of(loaded, {"probes": asked, "forget": [*asked[:2], *tiny_model.sets["forget"][2:]]})
    found = measured(context, "paraphrase")
    assert found.warnings == ["paraphrase: forget: 6 of 8 records have no paraphrases, and are left out"]
    assert found.sets["forget"]["paraphrase_recall"].records == 2
    apart = [[one.model_copy(update={"paraphrases": [(one.paraphrases or [])[at]]}) for one in asked] for at in (0, 1)]
    known, other = (measured(bench_of(loaded, {"probes": records}), "paraphrase") for records in apart)
    for name in ("paraphrase_recall", "paraphrase_probability"):
        mean = found.sets["probes"][name].value
        first, second = known.sets["probes"][name].value, other.sets["probes"][name].value
        assert mean == pytest.approx((first + second) / 2, rel=1e-4)
        assert first > second
    assert known == measured(context, "paraphrase", each=1).model_copy(
        update={"sets": {"probes": known.sets["probes"]}, "warnings": []}
    )
    statistics = context.statistics([one.model_copy(update={"prompt": "Say: what"}) for one in asked], label="probes")
    naive = np.mean([math.exp(sum(one.log_probability) / len(one.log_probability)) for one in statistics])
    assert other.sets["probes"]["paraphrase_probability"].value == pytest.approx(naive, rel=1e-4)


def test_the_limit_is_on_records_that_have_paraphrases(loaded: Loaded, tiny_model: TinyModel) -> None:
    context = bench_of(loaded, {"probes": [*tiny_model.sets["unseen"], *questions(tiny_model.sets["forget"])[:3]]})
    found = measured(context, "paraphrase", records=2)
    assert found.sets["probes"]["paraphrase_recall"].records == 2
    assert [(cut.done, cut.of) for cut in found.cut_short] == [(2, 3)]


def test_no_paraphrase_is_a_warning_where_there_are_probes(loaded: Loaded, tiny_model: TinyModel) -> None:
    blank = [Record(prompt="a", completion="b", paraphrases=[" "])]
    context = bench_of(loaded, {"probes": blank, "forget": tiny_model.sets["forget"]})
    found = measured(context, "paraphrase")
    assert found.sets == {}
    assert found.warnings == ["paraphrase: probes: no record has paraphrases"]
    assert measured(bench_of(loaded, {"forget": blank}), "paraphrase").warnings == []


def test_in_a_chat_the_last_question_is_put_in_other_words() -> None:
    turns = [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    chat = Record(messages=[Message(role=role, content=said) for role, said in turns], paraphrases=["x"])
    (put,) = paraphrased_records(chat)
    assert [one.content for one in put.messages or ()] == ["s", "a", "b", "x", "d"]
    (text,) = paraphrased_records(Record(text="t", paraphrases=["x", " "]))
    assert (text.prompt, text.completion) == ("x", "t")


def test_their_groups_are_as_documented() -> None:
    groups = {name: MEASUREMENTS[name].group for name in ("verbatim", "paraphrase", "sampled_leak", "prefix")}
    assert groups == {
        "verbatim": "standard",
        "paraphrase": "standard",
        "sampled_leak": "thorough",
        "prefix": "thorough",
    }
