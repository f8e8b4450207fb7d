"""Measures again the text that earlier jobs made the model forget, to see that it is still forgotten."""

from typing import TYPE_CHECKING, ClassVar

from core.evaluation.measurement import Measurement, ProducedFigures
from core.schema.evaluation import Figure, MeasurementResult, Moment, SetName
from core.schema.figure_names import PREVIOUSLY_FORGOTTEN
from core.schema.previously_forgotten import ForgottenFigures, PreviouslyForgotten, RecordFigures

if TYPE_CHECKING:
    from core.evaluation.eval_context import EarlierRecords, EvalContext


class PreviouslyForgottenText(Measurement):
    name: ClassVar[str] = "previously_forgotten"
    summary: ClassVar[str] = (
        "Whether the text is still forgotten that earlier jobs made the model forget, where the job starts from their"
        " checkpoint and the text is still stored. At most 64 records of each earlier job are scored again (1024 in"
        " all, but 4 of each job), the ones with the smallest digests. Each is compared with the figures that the"
        " earlier job kept of it. A record has come back if its extraction strength is over 0.3 above what it was then,"
        " and that is at least 5 tokens more; or if its perplexity is less than half of what it was then, and of the"
        " unseen set's. The fall must be as large for 5 tokens together: a one-token answer must be 32 times as"
        " probable as then. `previously_forgotten_returned`: the share of the compared records that have come back,"
        " known exactly for these records. The list `previously_forgotten` has an entry for each earlier job. Records"
        " of a job that kept no figures are listed as returned if their extraction strength is over 0.5 with at least 5"
        " tokens, but do not count in that share: nobody knows how well the model knew them then."
        " Text that was deleted or cannot be read is not measured: its entry gives the reason, and names the last job"
        " that measured it."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(across=(PREVIOUSLY_FORGOTTEN,))
    reads: ClassVar[frozenset[SetName] | None] = frozenset({"forget"})
    moments: ClassVar[frozenset[Moment]] = frozenset({"after"})

    def measure(self, context: "EvalContext") -> MeasurementResult:
        entries = [_measure_request(context, earlier) for earlier in context.earlier]
        result = MeasurementResult(previously_forgotten=entries)
        compared = [entry for entry in entries if entry.then is not None]
        if measured := sum(entry.measured for entry in compared):
            share = sum(entry.returned for entry in compared) / measured
            result.across[PREVIOUSLY_FORGOTTEN] = Figure(value=share, low=share, high=share, records=measured)
        return result


def _measure_request(context: "EvalContext", earlier: "EarlierRecords") -> PreviouslyForgotten:
    import numpy as np

    from core.evaluation.record_figures import record_figures
    from core.evaluation.scores.returned import have_returned
    from core.lm.errors import CoreError

    context.check_stop()
    request, kept = earlier.request, earlier.request.kept
    then = {} if kept is None else {figures.position: figures for figures in kept.records}
    sampled = [(position, record) for position, record in earlier.records if kept is None or position in then]
    chat = context.training.chat if kept is None else kept.chat
    reason = earlier.unread or "no_figures"
    try:
        now = record_figures(context, sampled, chat, context.length if kept is None else kept.max_length)
    except CoreError as error:
        if kept is not None or error.code == "not_finite":
            raise
        now, reason = [], "unreadable"  # no figures say how the records were read, and this job's settings do not fit
    entry = {"job": request.job, "records": request.records, "hmac_sha256": request.hmac_sha256}
    if not now:
        unknown = {"state": "not_measured", "measured": 0, "returned": 0, "then": None, "now": None, "reason": reason}
        return PreviouslyForgotten.model_validate({**entry, **unknown, "last_measured": request.last_measured})
    pairs = [(then.get(figures.position), figures) for figures in now]
    loss, extraction = (
        np.array([[np.nan if figures is None else getattr(figures, name) for figures in pair] for pair in pairs]).T
        for name in ("loss", "extraction_strength")
    )
    tokens = np.array([figures.tokens for figures in now])
    returned = int(have_returned(loss, extraction, tokens, _unseen_loss(context)).sum())
    return PreviouslyForgotten.model_validate(
        {
            **entry,
            "state": "returned" if returned else "forgotten",
            "measured": len(now),
            "returned": returned,
            "then": None if kept is None else _summary([then[figures.position] for figures in now]),
            "now": _summary(now),
        }
    )


def _unseen_loss(context: "EvalContext") -> float | None:
    """The mean loss of unseen text in the measured model."""
    from core.evaluation.record_scores import record_scores

    return float(record_scores(context, "unseen")["loss"].mean()) if "unseen" in context.sets else None


def _summary(figures: list[RecordFigures]) -> ForgottenFigures:
    import numpy as np

    from core.evaluation.scores.likelihood import perplexity

    strengths = [record.extraction_strength for record in figures]
    return ForgottenFigures(
        perplexity=float(perplexity(np.array(np.mean([record.loss for record in figures])))),
        extraction_strength=float(np.mean(strengths)),
        extraction_strength_highest=max(strengths),
    )
