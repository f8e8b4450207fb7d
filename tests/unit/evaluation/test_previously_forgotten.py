"""Text of earlier requests: whether a model knows it again, record by record, and what is told of deleted text."""

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation.eval_context import EarlierRecords, EvalContext
from core.evaluation.measurements import resolve_measurements
from core.evaluation.record_figures import keep_figures
from core.evaluation.runner import measure_model
from core.schema.evaluation import Measurements
from core.schema.figure_names import PREVIOUSLY_FORGOTTEN
from core.schema.previously_forgotten import EarlierRequest, KeptFigures, records_of_each
from tests.tiny_model import TinyModel
from tests.unit.evaluation.test_runner import TRAINING

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


@pytest.fixture(scope="module")
def kept(loaded: Loaded, tiny_model: TinyModel) -> KeptFigures:
    """The figures of four records that the model knows by heart."""
    return keep_figures(EvalContext(lambda: loaded, {}, training=TRAINING), tiny_model.sets["retain"][:4])


def measure(loaded: Loaded, tiny_model: TinyModel, *earlier: EarlierRecords) -> Measurements:
    sets = {name: tiny_model.sets[name] for name in ("forget", "unseen")}
    context = EvalContext(lambda: loaded, sets, training=TRAINING, earlier=earlier)
    return measure_model(context, resolve_measurements(["previously_forgotten"]), model_digest="0" * 64)


def request(kept: KeptFigures | None) -> EarlierRequest:
    return EarlierRequest(job="job-1", records=9, last_measured="job-2", hmac_sha256="ab", kept=kept)


def forgotten(kept: KeptFigures) -> KeptFigures:
    """Figures that say that the same records were forgotten."""
    records = [record.model_copy(update={"loss": 6.0, "extraction_strength": 0.0}) for record in kept.records]
    return kept.model_copy(update={"records": records})


def test_records_that_the_model_knows_again_have_come_back(
    loaded: Loaded, tiny_model: TinyModel, kept: KeptFigures
) -> None:
    records = list(enumerate(tiny_model.sets["retain"][:4]))
    result = measure(loaded, tiny_model, EarlierRecords(request(forgotten(kept)), records))
    (entry,) = result.previously_forgotten
    assert (entry.state, entry.records, entry.measured, entry.returned) == ("returned", 9, 4, 4)
    assert entry.then is not None
    assert entry.now is not None
    assert entry.then.perplexity == pytest.approx(403.43, abs=0.01)
    assert entry.now.perplexity < 1.4
    assert entry.now.extraction_strength_highest > 0.9
    assert entry.last_measured is None
    figure = result.across[PREVIOUSLY_FORGOTTEN]
    assert (figure.value, figure.low, figure.high, figure.records) == (1.0, 1.0, 1.0, 4)


def test_records_that_are_as_they_were_have_not_come_back(
    loaded: Loaded, tiny_model: TinyModel, kept: KeptFigures
) -> None:
    sampled = [(0, tiny_model.sets["retain"][0]), (3, tiny_model.sets["retain"][3])]
    result = measure(loaded, tiny_model, EarlierRecords(request(kept), sampled))
    (entry,) = result.previously_forgotten
    assert (entry.state, entry.measured, entry.returned) == ("forgotten", 2, 0)
    assert entry.then is not None
    assert entry.now is not None
    assert entry.then.extraction_strength == entry.now.extraction_strength
    assert result.across[PREVIOUSLY_FORGOTTEN].value == 0.0


def test_without_kept_figures_what_comes_out_now_is_told_and_carries_no_bound(
    loaded: Loaded, tiny_model: TinyModel
) -> None:
    known, unknown = (
        measure(loaded, tiny_model, EarlierRecords(request(None), list(enumerate(tiny_model.sets[name][:2]))))
        for name in ("retain", "unseen")
    )
    assert [known.previously_forgotten[0].state, unknown.previously_forgotten[0].state] == ["returned", "forgotten"]
    assert known.previously_forgotten[0].then is None
    assert (known.across, unknown.across) == ({}, {})  # no bound can fail by them


def test_deleted_text_is_not_measured_and_the_last_job_that_did_is_named(
    loaded: Loaded, tiny_model: TinyModel, kept: KeptFigures
) -> None:
    result = measure(loaded, tiny_model, EarlierRecords(request(kept), [], "deleted"))
    (entry,) = result.previously_forgotten
    assert (entry.state, entry.measured, entry.now, entry.reason) == ("not_measured", 0, None, "deleted")
    assert (entry.last_measured, entry.hmac_sha256) == ("job-2", "ab")
    assert result.across == {}
    assert measure(loaded, tiny_model).previously_forgotten == []


def test_text_that_is_stored_is_not_told_to_be_deleted(
    loaded: Loaded, tiny_model: TinyModel, kept: KeptFigures
) -> None:
    unread = EarlierRecords(request(kept), [], "unreadable")
    uncompared = EarlierRecords(request(kept), [(8, tiny_model.sets["retain"][8])])  # no figures of this one are kept
    result = measure(loaded, tiny_model, unread, uncompared)
    assert [entry.reason for entry in result.previously_forgotten] == ["unreadable", "no_figures"]


def test_the_records_of_all_requests_together_are_bounded() -> None:
    assert [records_of_each(count) for count in (0, 1, 16, 17, 100, 256, 1000)] == [64, 64, 64, 60, 10, 4, 4]
