"""An optional field that a later version adds to records changes nothing that is derived from records without it."""

import pytest
import torch

from core.demo.people import people
from core.evaluation import cache
from core.evaluation.attacks import model_free_baseline
from core.evaluation.attacks.paraphrased_prompts import paraphrased_records
from core.evaluation.eval_context import EvalContext
from core.evaluation.text import record_context
from core.evaluation.text.cloze_items import cloze_items
from core.evaluation.text.counterfactuals import counterfactuals
from core.lm.data import encode
from core.lm.split import split
from core.pipeline import job_fingerprint
from core.pipeline.containment import Containment
from core.pipeline.data_split import split_sets
from core.schema.evaluation import SetName
from core.schema.job_spec import RecordSet
from core.schema.record import Record
from core.unlearning.objectives import resolve
from core.unlearning.tokenized_set import TokenizedSet
from tests.chat_templates import SHAPES
from tests.unit.evaluation.statistics_samples import TRAINING, no_model
from tests.unit.lm.chat_tokenizers import chat_tokenizer

KINDS = ("text", "prompt", "messages")


class LaterRecord(Record):
    """`Record` as a later version may have it."""

    added: str | None = None


def records(kind: type[Record], count: int = 30, seed: int = 11) -> list[Record]:
    """Records of all shapes, with and without probes."""
    shapes = [people(count, seed, form=form) for form in KINDS]  # type: ignore[arg-type]
    mixed = [shapes[number % 3][number] for number in range(count)]
    for number, record in enumerate(mixed):
        if number % 2:
            record.wrong, record.paraphrases, record.alternate = ["no"], ["in other words"], "never"
    return [kind.model_validate(record.model_dump()) for record in mixed]


def record_sets(kind: type[Record]) -> list[RecordSet]:
    names: list[SetName] = ["forget", "retain", "unseen", "general", "probes"]
    # not validated, which would make records of this version of them
    return [RecordSet.model_construct(name=name, records=records(kind, seed=seed)) for seed, name in enumerate(names)]


def context(kind: type[Record]) -> EvalContext:
    sets = {records.name: records.records for records in record_sets(kind)}
    return EvalContext(no_model, sets, training=TRAINING)


def plain(derived: list[Record]) -> list[str]:
    return [record.to_json() for record in derived]


@pytest.fixture
def earlier() -> list[Record]:
    return records(Record)


@pytest.fixture
def later() -> list[Record]:
    return records(LaterRecord)


def test_digests_and_identities_stay(earlier: list[Record], later: list[Record]) -> None:
    assert [record.digest() for record in later] == [record.digest() for record in earlier]
    assert [record.identity() for record in later] == [record.identity() for record in earlier]
    assert plain(later) == plain(earlier)
    assert LaterRecord(text="a", added="b").digest() != Record(text="a").digest()


def test_counterfactuals_stay(earlier: list[Record], later: list[Record]) -> None:
    before, after = context(Record), context(LaterRecord)
    assert record_context.context_digest(after) == record_context.context_digest(before)
    pools = [record_context.donor_pool(sets, record_context.common_words(sets)) for sets in (before, after)]
    expected = [plain(counterfactuals(record, 5, seed=0, pool=pools[0])) for record in earlier]
    assert all(expected)
    assert [plain(counterfactuals(record, 5, seed=0, pool=pools[1])) for record in later] == expected


def test_cloze_items_stay(earlier: list[Record], later: list[Record]) -> None:
    tokenizer = chat_tokenizer(SHAPES["brackets"])

    def items(records: list[Record]) -> list[list[int]]:
        blanked = [item for record in records for item in cloze_items(record, tokenizer, chat="raw", limit=2)]
        return [[*item.ids, item.length] for item in blanked]

    assert items(earlier)
    assert items(later) == items(earlier)


def test_chosen_subsets_stay() -> None:
    for name in ("forget", "retain"):
        assert context(LaterRecord).subset_indices(name, 12) == context(Record).subset_indices(name, 12)  # type: ignore[arg-type]


def test_the_split_and_the_halves_of_all_sets_stay(earlier: list[Record], later: list[Record]) -> None:
    assert split(later, purpose="retain") == split(earlier, purpose="retain")
    before, after = (split_sets(record_sets(kind)) for kind in (Record, LaterRecord))
    assert {name: plain(measuring) for name, measuring in after.measuring.items()} == {
        name: plain(measuring) for name, measuring in before.measuring.items()
    }
    assert plain(after.training.unseen) == plain(before.training.unseen)
    assert [plain(retain.records) for retain in after.training.retain] == [
        plain(retain.records) for retain in before.training.retain
    ]
    assert after.warnings == before.warnings
    assert Containment(later).overlapping(earlier) == Containment(earlier).overlapping(earlier)


def test_cache_keys_stay(earlier: list[Record], later: list[Record]) -> None:
    assert cache._records_digest(later) == cache._records_digest(earlier)


def test_the_fingerprint_of_a_job_stays() -> None:
    assert job_fingerprint._digest(record_sets(LaterRecord)) == job_fingerprint._digest(record_sets(Record))


def test_tokens_that_train_and_that_filter_rehearsals_stay(earlier: list[Record], later: list[Record]) -> None:
    tokenizer = chat_tokenizer(SHAPES["brackets"])
    before, after = (encode(records, tokenizer, max_length=64, chat="raw") for records in (earlier, later))
    assert [chunk.ids.tolist() for chunk in after] == [chunk.ids.tolist() for chunk in before]
    assert [chunk.scored.tolist() for chunk in after] == [chunk.scored.tolist() for chunk in before]
    device = torch.device("cpu")
    pairs = [
        TokenizedSet.tokenize(records[1::2], tokenizer, max_length=64, chat="raw", device=device, pairs=True)
        for records in (earlier, later)
    ]
    assert [chunk.ids.tolist() for chunk in pairs[1].chunks] == [chunk.ids.tolist() for chunk in pairs[0].chunks]


@pytest.mark.parametrize(("method", "parameters"), [("refusal", {}), ("dpo", {"alternates": "refusal"})])
def test_rewritten_records_stay(
    earlier: list[Record], later: list[Record], method: str, parameters: dict[str, str]
) -> None:
    def generate(records: list[Record]) -> list[str]:
        raise AssertionError

    before, after = (resolve(method, parameters).rewrite(records, generate, 3) for records in (earlier, later))
    assert plain(after) == plain(before)


def test_prompts_in_other_words_and_texts_of_the_model_free_baseline_stay(
    earlier: list[Record], later: list[Record]
) -> None:
    prompts = [[plain(paraphrased_records(record)) for record in records] for records in (earlier, later)]
    assert prompts[1] == prompts[0]
    assert [model_free_baseline._text(record) for record in later] == [
        model_free_baseline._text(record) for record in earlier
    ]
