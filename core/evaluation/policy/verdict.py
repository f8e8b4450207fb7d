"""Verdicts: whether a model keeps a policy, shown by equivalence.

A bound is `passed` when its whole interval lies within the limits, `failed` when the whole interval lies outside, and
`underpowered` when the interval is too wide to tell. A policy is passed when every bound is, each at its own 95 %. So a
model that is exactly at one limit passes in at most 2.5 % of cases, however many bounds there are (an intersection-
union test: Berger 1982, Technometrics 24:295). On fewer records than a bound is judged from, only a failure counts:
an interval that is too wide is expected there, an interval that lies outside as a whole is not.

The bounds on what must be forgotten belong to two parts with a verdict each. `extraction` can be judged from one record
on: how much of these very records comes out is known without an interval over records. `membership` takes many records.
"""

from typing import get_args

from core.evaluation.policy.earlier_requests import describe_earlier
from core.evaluation.policy.evidence import SINGLE, Evidence, figures_by_step
from core.evaluation.stats.comparison import (
    FEW,
    Comparison,
    NoRatio,
    as_constant,
    compare,
    interval_from_larger_sample,
    uncompared,
    without_interval,
    without_spread,
)
from core.schema import figure_names
from core.schema.evaluation import Figure, Measurements
from core.schema.policies import FORGET_SETS, Bound, JudgedBound, Judgement, Policy, Result, Scope
from core.schema.verdict_parts import Part, PartVerdict, Reason, Verdict

SHIFTED = 0.6
"""Above this AUC of a classifier that sees the texts but no model, forget and unseen text differ by themselves, and
membership attacks show nothing."""

CHANCE = 0.5
"""A membership attack's AUC on a model that never saw the forget set."""

MEMORIZATION_BOUNDS = (
    Bound(name="extraction", set="forget", figure="extraction_strength", against="retrained", high=0.1),
    Bound(name="extraction-highest", set="forget", figure="extraction_strength_highest", against="retrained", high=0.5),
    Bound(name="extraction-alone", set="forget", figure="extraction_strength", high=0.5),
    Bound(name="perplexity", set="forget", figure="perplexity", against="retrained", by="ratio", low=0.2),
    Bound(name="exposure", set="forget", figure="exposure_rank", low=0.2),
    Bound(name="membership", attack="loss", against="retrained", high=0.25),
)
"""A supplied retrained model that fails one of these, compared with the original's unseen text, has seen the forget
set. They are wide: the forget text may be easy or hard for a model that never saw it, and showing how easy is what a
retrained model is for."""

QUESTIONS = ("cloze_fill", "cloze_fill_sampled")
"""Figures of forget records that ask for a fact in other words than the record's. Every figure of `probes` does."""

LESS_KNOWN_ABOVE = ("perplexity", "exposure_rank")
"""Figures of forget records that are higher the less a model knows them."""

_UNCHANGED = 1.0
"""A perplexity ratio of exactly this in every record: the model has not changed on these records."""

_PAIRED = {"ratio": "ratio", "difference": "change"}
"""The ending of a figure's name that stands for the change of each record."""

_WORST_FIRST: tuple[Result, ...] = ("failed", "underpowered", "passed")
_TELLING_FIRST: tuple[Reason, ...] = (
    "reference_knows_the_text",
    "no_reference_text",
    "shifted_reference_text",
    "not_measured",
    "underpowered",
)


def judge(
    policy: Policy, *, before: Measurements | None, after: Measurements, retrained: Measurements | None = None
) -> Judgement:
    """Returns the policy's verdict on the model that `after` measured.

    `before` measured the model that the job started from, `retrained` a retrained model. A bound against a model that
    was not measured, or against a retrained model that knows the text, is not judged. The verdict is `failed` where any
    bound that counts failed; else `not_judged` where a required part is not passed, a bound on what must survive could
    not be told, or no part is passed; else `passed`.
    """
    evidence = Evidence(
        before, after, retrained, retrained_knows=bool(retrained and signs_of_memorization(retrained, before))
    )
    bounds = [_judge_bound(bound, evidence) for bound in policy.bounds]
    counting = [judged for judged in bounds if judged.carries]
    parts = _judge_parts(policy, bounds, evidence)
    required = [verdict for verdict in parts.values() if verdict.required]
    reasons: list[Reason] = [judged.why for judged in counting if judged.part is None and judged.why is not None]
    reasons += [verdict.reason for verdict in required if verdict.reason is not None]
    if not any(verdict.result == "passed" for verdict in parts.values()):
        reasons += [verdict.reason for verdict in parts.values() if verdict.reason is not None] or ["underpowered"]
    verdict: Verdict = "not_judged" if reasons else "passed"
    if any(judged.result == "failed" for judged in counting):
        verdict = "failed"
    return Judgement(
        policy=policy.name,
        verdict=verdict,
        reason=_most_telling(reasons) if verdict == "not_judged" else None,
        parts=parts,
        scope=_scope(counting),
        warnings=[*_unjudged_survival(bounds), *describe_earlier(after.previously_forgotten)],
        bounds=bounds,
    )


def _judge_parts(policy: Policy, bounds: list[JudgedBound], evidence: Evidence) -> dict[Part, PartVerdict]:
    """The verdict on each part that the policy has a bound of.

    A part is required from the policy's number of records on, where any bound of it counts.
    """
    verdicts: dict[Part, PartVerdict] = {}
    required_from = {"extraction": policy.requires.extraction, "membership": policy.requires.membership}
    parts: tuple[Part, ...] = get_args(Part)
    for part in parts:
        if not any(judged.part == part for judged in bounds):
            continue
        counting = [judged for judged in bounds if judged.part == part and judged.carries]
        reasons: list[Reason] = [judged.why for judged in counting if judged.why is not None]
        if not any(
            judged.bound.concerns_forgetting and not judged.bound.added and judged.result == "passed"
            for judged in counting
        ):
            reasons.append("underpowered")
        result: Verdict = "not_judged" if reasons else "passed"
        if any(judged.result == "failed" for judged in counting):
            result = "failed"
        least, records = required_from[part], evidence.forget_records
        verdicts[part] = PartVerdict(
            result=result,
            reason=_most_telling(reasons) if result == "not_judged" else None,
            required=bool(counting) and least is not None and (records == 0 or records >= least),
        )
    return verdicts


def _most_telling(reasons: list[Reason]) -> Reason:
    return min(reasons, key=_TELLING_FIRST.index)


def signs_of_memorization(retrained: Measurements, before: Measurements | None) -> list[str]:
    """Returns the names of the bounds by which a supplied retrained model shows that it has seen the forget set.

    `before` measured the model that the job started from; its unseen text stands for the expected figures. A bound is
    named only where the whole interval is beyond the limit.
    """
    evidence = Evidence(before, retrained, None, doubted=True)
    return [bound.name for bound in MEMORIZATION_BOUNDS if _judge_bound(bound, evidence).result == "failed"]


def _scope(counting: list[JudgedBound]) -> Scope:
    """`facts` where any bound asked a question. `cloze` asks none: it continues the text itself, up to the blank."""
    measured = [judged.bound for judged in counting if judged.figure is not None]
    return (
        "facts"
        if any(bound.set == "probes" or (bound.concerns_forgetting and bound.figure in QUESTIONS) for bound in measured)
        else "verbatim"
    )


def _unjudged_survival(bounds: list[JudgedBound]) -> list[str]:
    """A sentence for each bound on text to keep that has no part in the verdict."""
    sentences = []
    for judged in bounds:
        bound = judged.bound
        if judged.carries or not bound.concerns_survival:
            continue
        if judged.why != "not_measured":
            sentences.append(
                f"'{bound.name}' has no part in the verdict: it stands on {judged.records} records, and counts from"
                f" {bound.judged_from} on"
            )
        elif bound.set == "general":
            sentences.append(
                f"general ability was not measured, for want of general text: '{bound.name}' was not judged"
            )
    return sentences


class _NotJudged(Exception):
    """A bound that cannot be judged, whatever its interval; with the figure, where there is one.

    `fails`: it would fail otherwise, and so counts on few records, too.
    """

    def __init__(self, why: Reason, figure: Figure | None = None, *, fails: bool = False) -> None:
        super().__init__(why)
        self.why, self.figure, self.fails = why, figure, fails


def _judge_bound(bound: Bound, evidence: Evidence) -> JudgedBound:
    """Judges a bound; of a curve, the point with the worst result counts."""
    try:
        judged_bounds = [_judge_pair(bound, figure, other, evidence) for figure, other in _pairs(bound, evidence)]
    except _NotJudged as error:
        figure = error.figure
        may_be_missing = error.why == "not_measured" and evidence.may_be_missing(bound)
        return JudgedBound(
            bound=bound,
            part=bound.part,
            limit_low=bound.low,
            limit_high=bound.high,
            result="not_judged",
            why=error.why,
            carries=error.fails or (not may_be_missing and evidence.suffices(bound, figure)),
            records=None if figure is None else figure.records,
            figure=figure,
            yardstick=None if error.why == "no_reference_text" else evidence.yardstick(bound),
        )
    return min(judged_bounds, key=lambda judged: _WORST_FIRST.index(judged.result))


def _alone(bound: Bound) -> Bound:
    """The bound on the figure itself, where there is no yardstick."""
    return bound.model_copy(update={"against": None, "by": "difference", "low": None, "high": bound.high_alone})


def _judge_pair(bound: Bound, figure: Figure, other: Figure | None, evidence: Evidence) -> JudgedBound:
    """Judges one figure beside the figure that it is compared with, if any. Raises _NotJudged."""
    if bound.attack is not None:
        _check_texts(figure, evidence)
    limits = _alone(bound) if other is None and bound.against is not None else bound
    if bound.of_these_records:
        figure = _of_same_records(figure)
    elif bound.set in FORGET_SETS:
        figure = interval_from_larger_sample(figure, evidence.larger_sample(bound.figure or ""), bound.by)
    elif bound.concerns_survival:
        figure = without_spread(figure)
    try:
        comparison = (
            uncompared(figure) if other is None else _paired_change(bound, evidence) or compare(figure, other, bound.by)
        )
    except NoRatio:
        raise _NotJudged("not_measured", figure) from None
    result = _result(limits, comparison)
    to_unseen = evidence.yardstick(bound) != "retrained_model"
    if result == "failed" and evidence.unchanged and to_unseen and _is_less_known(limits, comparison):
        # The job changed nothing, so it did not cause this. The text is of another kind, or was suppressed before.
        raise _NotJudged("shifted_reference_text", figure, fails=True)
    return JudgedBound(
        bound=bound,
        part=bound.part,
        value=comparison.value,
        low=comparison.low,
        high=comparison.high,
        limit_low=limits.low,
        limit_high=limits.high,
        result=result,
        why="underpowered" if result == "underpowered" else None,
        carries=result == "failed" or evidence.suffices(bound, figure),
        records=figure.records,
        figure=figure,
        compared=other,
        yardstick=evidence.yardstick(limits),
    )


def _result(bound: Bound, comparison: Comparison) -> Result:
    low, high = comparison.low, comparison.high
    if low is None or high is None:
        return "underpowered"
    if (bound.low is not None and high < bound.low) or (bound.high is not None and low > bound.high):
        return "failed"
    if (bound.low is None or low >= bound.low) and (bound.high is None or high <= bound.high):
        return "passed"
    return "underpowered"


def _is_less_known(bound: Bound, comparison: Comparison) -> bool:
    """True if the bound fails because the text is too unlikely, not because it is too well known."""
    if bound.attack is not None:
        return bound.low is not None and comparison.high is not None and comparison.high < bound.low
    if bound.variant is not None or bound.figure not in LESS_KNOWN_ABOVE:
        return False
    return bound.high is not None and comparison.low is not None and comparison.low > bound.high


def _check_texts(figure: Figure, evidence: Evidence) -> None:
    """Raises _NotJudged where forget and unseen text can be told apart without a model, or this was not measured."""
    baseline = evidence.after.across.get("baseline_auc")
    if baseline is None:
        raise _NotJudged("not_measured", figure)
    if baseline.value > SHIFTED:
        raise _NotJudged("shifted_reference_text", figure)


def _pairs(bound: Bound, evidence: Evidence) -> list[tuple[Figure, Figure | None]]:
    """The model's figures, one for each step of a curve, each with the figure to compare it with. Raises _NotJudged."""
    figures = figures_by_step(bound, evidence.after)
    if not figures:
        needs_unseen = bound.attack is not None or (bound.across or "").startswith("privleak")
        raise _NotJudged("no_reference_text" if needs_unseen and not evidence.has_unseen else "not_measured")
    first = next(iter(figures.values()))
    if evidence.retrained_knows and _depends_on_retrained(bound):
        raise _NotJudged("reference_knows_the_text", first)
    if bound.against is None:
        return [(figure, None) for figure in figures.values()]
    expected = _figures_to_compare_with(bound, evidence, first)
    pairs = [(figure, expected[step]) for step, figure in figures.items() if step in expected]
    if not pairs and bound.high_alone is not None and not evidence.has_retrained_yardstick(bound):
        return [(figure, None) for figure in figures.values()]
    if not pairs:
        raise _NotJudged("not_measured", first)
    return pairs


def _depends_on_retrained(bound: Bound) -> bool:
    """Whether a supplied retrained model decides the bound's result."""
    across = bound.across or ""
    compares = bound.against == "retrained" or bound.attack == "reference"
    by_itself = across in ("forget_quality", *figure_names.RELEARNED_BESIDE_RETRAINED)
    return compares or by_itself or across.startswith("privleak_")


def _figures_to_compare_with(bound: Bound, evidence: Evidence, figure: Figure) -> dict[int, Figure | None]:
    """The figures to compare with, by step. Raises _NotJudged where there is no unseen text."""
    if bound.against == "before":
        before = {} if evidence.before is None else figures_by_step(bound, evidence.before)
        return {step: _survivor(bound, figure) for step, figure in before.items()}
    if evidence.retrained is not None and evidence.has_retrained_yardstick(bound):
        retrained = figures_by_step(bound, evidence.retrained)
        if bound.attack is not None:  # on the same records the retrained model's AUC is as fixed a yardstick as 0.5
            return {step: as_constant(figure) for step, figure in retrained.items()}
        return {step: _of_same_records(figure) for step, figure in retrained.items()}
    if bound.attack is not None:
        return {SINGLE: Figure(value=CHANCE, low=CHANCE, high=CHANCE, records=0)}
    if bound.curve is not None or evidence.before is None:
        return {}
    if not evidence.has_unseen and bound.high_alone is None:
        raise _NotJudged("no_reference_text", figure)
    of_unseen = bound.model_copy(update={"set": "unseen"})
    of_model_itself = of_unseen.model_copy(update={"variant": None})
    unseen = figures_by_step(of_unseen, evidence.before) or figures_by_step(of_model_itself, evidence.before)
    if evidence.doubted:
        return {step: _of_same_records(figure) for step, figure in unseen.items()}
    if bound.high_alone is not None and any(figure.records < FEW for figure in unseen.values()):
        return {}
    # Unseen records are not the forget records, and the submitter may have chosen them: few show nothing of others.
    return {step: figure if figure.records >= FEW else without_interval(figure) for step, figure in unseen.items()}


def _survivor(bound: Bound, figure: Figure) -> Figure:
    """The figure to compare with. On few records of text to keep, its interval is left out (`without_spread`)."""
    return without_spread(figure) if bound.concerns_survival else _of_same_records(figure)


def _of_same_records(figure: Figure) -> Figure:
    """A figure of the same records as the one it is compared with: without an interval it counts as exactly known."""
    return as_constant(figure) if figure.low is None or figure.high is None else figure


def _paired_change(bound: Bound, evidence: Evidence) -> Comparison | None:
    """The mean change of each record, where it was measured: it varies far less than two separate means do."""
    if bound.against != "before" or bound.set is None or bound.variant is not None:
        return None
    change = evidence.after.sets.get(bound.set, {}).get(f"{bound.figure}_{_PAIRED[bound.by]}")
    if change is None:
        return None
    unchanged = bound.by == "ratio" and change.low == change.high == _UNCHANGED
    return uncompared(change if unchanged else without_spread(change))
