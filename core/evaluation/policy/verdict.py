"""Whether a model keeps within a policy: by equivalence, not by absence of evidence.

A bound is passed when its whole interval lies within the limits, failed when the whole interval lies outside, and
`underpowered` when it is too wide to tell. A policy is passed when every bound is, each at its own 95 %: so a model
that is as far off as any one limit passes in at most 2.5 % of cases, however many bounds there are (an intersection-
union test: Berger 1982, Technometrics 24:295). On fewer records than a bound is judged from, only a failure counts:
that the interval is too wide is expected there, that all of it lies outside is not.
"""

from dataclasses import dataclass

from core.evaluation.policy.requirements import cut
from core.evaluation.stats.comparison import FEW, Compared, NoRatio, alone, compared, known, of_few, unsure, widened
from core.schema.evaluation import Attack, Figure, Measurements, SetName
from core.schema.policies import (
    FORGET_SETS,
    Bound,
    JudgedBound,
    Judgement,
    Policy,
    Reason,
    Result,
    Scope,
    Verdict,
    Yardstick,
)

SHIFTED = 0.6
"""Above this AUC of a classifier that never saw the model, forget and unseen text differ by themselves: membership
says nothing then."""

CHANCE = 0.5
"""A membership attack's AUC on a model that never saw the forget set."""

KNOWING = (
    Bound(name="extraction", set="forget", figure="extraction_strength", against="retrained", high=0.1),
    Bound(name="extraction-highest", set="forget", figure="extraction_strength_highest", against="retrained", high=0.5),
    Bound(name="extraction-alone", set="forget", figure="extraction_strength", high=0.5),
    Bound(name="perplexity", set="forget", figure="perplexity", against="retrained", by="ratio", low=0.2),
    Bound(name="exposure", set="forget", figure="exposure_rank", low=0.2),
    Bound(name="membership", attack="loss", against="retrained", high=0.25),
)
"""A model that fails one of these, beside the original's unseen text, has seen the forget set. They are wide: text may
be easy or hard for a model that never saw it, which is what a retrained one is there to tell."""

QUESTIONS = ("cloze_fill", "cloze_fill_sampled")
"""Figures of forget records that ask for what a record says, in other words than it does; those of `probes` all do."""

_UNTOUCHED = 1.0
"""The change of every record's perplexity, where it is exactly this, is of a model that has not changed on them."""

_ONLY = 0  # the step of what is no curve
_PAIRED = {"ratio": "ratio", "difference": "change"}
"""What a figure's name ends in where it is of the change of each record."""

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
    """The policy's verdict on the model of `after`.

    `before` is of the model that the job started from (where there is none, what is held against it is not judged),
    `retrained` of a retrained one; where that knows the text, what is held against it is not judged. `failed` where any
    bound is that counts; else `not_judged` where any that counts could not be told, or none about forgetting counts;
    else `passed`.
    """
    measured = _Measured(before, after, retrained, untrue=bool(retrained and knows(retrained, before)))
    bounds = [_judged(bound, measured) for bound in policy.bounds]
    counting = [one for one in bounds if one.carries]
    reasons: list[Reason] = [one.why for one in counting if one.why is not None]
    if not any(one.bound.concerns_forgetting and not one.bound.added and one.result == "passed" for one in counting):
        reasons.append("underpowered")
    verdict: Verdict = "not_judged" if reasons else "passed"
    if any(one.result == "failed" for one in counting):
        verdict = "failed"
    reason = min(reasons, key=_TELLING_FIRST.index) if verdict == "not_judged" else None
    return Judgement(
        policy=policy.name,
        verdict=verdict,
        reason=reason,
        scope=_scope(counting),
        warnings=_unsaid(bounds),
        bounds=bounds,
    )


def knows(retrained: Measurements, before: Measurements | None) -> list[str]:
    """The figures by which a supplied retrained model shows that it has seen the forget set; empty where none does.

    `before` is of the model that the job started from, whose unseen text stands for what is expected. The whole
    interval has to be beyond a limit.
    """
    measured = _Measured(before, retrained, None, doubted=True)
    return [bound.name for bound in KNOWING if _judged(bound, measured).result == "failed"]


def _scope(counting: list[JudgedBound]) -> Scope:
    """`cloze` asks nothing: it goes on from the words that stand before the blank in the text itself."""
    asked = [one.bound for one in counting if one.figure is not None]
    return (
        "facts"
        if any(one.set == "probes" or (one.concerns_forgetting and one.figure in QUESTIONS) for one in asked)
        else "verbatim"
    )


def _unsaid(bounds: list[JudgedBound]) -> list[str]:
    """What must survive that the verdict says nothing of, a sentence each."""
    found = []
    for one in bounds:
        bound = one.bound
        if one.carries or not bound.concerns_survival:
            continue
        if one.why != "not_measured":
            found.append(
                f"'{bound.name}' has no part in the verdict: it stands on {one.records} records, and counts from"
                f" {bound.judged_from} on"
            )
        elif bound.set == "general":
            found.append(f"general ability was not measured, for want of general text: '{bound.name}' was not judged")
    return found


@dataclass(frozen=True)
class _Measured:
    before: Measurements | None
    after: Measurements
    retrained: Measurements | None
    untrue: bool = False
    """The retrained model knows the text."""
    doubted: bool = False
    """The retrained model itself is judged, by any yardstick: few unseen records must not make it believed."""

    def size(self, name: SetName) -> int:
        """Records of the set, as far as that is known; whatever a limit has left of them is as good as all."""
        figures = self.after.sets.get(name, {}).values()
        return max([self.after.records.get(name, 0), *(figure.records for figure in figures)])

    @property
    def forgotten(self) -> int:
        """Records to forget."""
        return self.size("forget")

    def suffices(self, bound: Bound, figure: Figure | None) -> bool:
        """Whether there are records enough for the bound to count, however few of them were looked at."""
        if bound.set is not None:
            there = self.size(bound.set)
        elif bound.benchmark is not None:
            told = [one for one in self.after.cut_short if one.measurement == "benchmarks"]
            there = max((one.of for one in told if one.what == bound.benchmark), default=0)
        else:
            there = self.size("protected" if bound.across == "model_utility" else "forget")
        records = max(there, 0 if figure is None else figure.records)
        return records == 0 or records >= bound.judged_from

    def excuses(self, bound: Bound) -> bool:
        """Whether a figure that is not there is not missed: no model has it, or a curve nothing to be held against.

        Never where less was looked at than is by default: more might have found it."""
        if bound.optional_from is None or self.forgotten < bound.optional_from:
            return False
        if bound.curve is not None and bound.against == "retrained" and self.retrained is None:
            return True
        models = [one for one in (self.before, self.after, self.retrained) if one is not None]
        return not any(_figures(bound, one) or cut(bound, one.cut_short) for one in models)

    def yardstick(self, bound: Bound) -> Yardstick | None:
        """Where the figures come from that the bound is held against; None where it stands by itself."""
        if bound.against is None:
            return None
        if bound.against == "before":
            return "before"
        if self.retrained is not None and bound.attack != "reference":  # with which it does not attack itself
            return "retrained_model"
        if bound.attack is not None:
            return "chance"
        return None if bound.curve is not None else "unseen_text"

    @property
    def unseen(self) -> dict[str, Figure]:
        """The original's figures on text that it never saw."""
        return {} if self.before is None else self.before.sets.get("unseen", {})

    @property
    def has_unseen(self) -> bool:
        return bool(self.unseen) or "unseen" in self.after.sets


class _NotJudged(Exception):
    """A bound that cannot be told, whatever its interval; with the figure, where there is one."""

    def __init__(self, why: Reason, figure: Figure | None = None) -> None:
        super().__init__(why)
        self.why, self.figure = why, figure


def _judged(bound: Bound, measured: _Measured) -> JudgedBound:
    try:
        held = [_held(bound, figure, against, measured) for figure, against in _pairs(bound, measured)]
    except _NotJudged as none:
        figure = none.figure
        excused = none.why == "not_measured" and measured.excuses(bound)
        return JudgedBound(
            bound=bound,
            limit_low=bound.low,
            limit_high=bound.high,
            result="not_judged",
            why=none.why,
            carries=not excused and measured.suffices(bound, figure),
            records=None if figure is None else figure.records,
            figure=figure,
            yardstick=None if none.why == "no_reference_text" else measured.yardstick(bound),
        )
    return min(held, key=lambda one: _WORST_FIRST.index(one.result))  # of a curve, a place that does worst


def _held(bound: Bound, figure: Figure, against: Figure | None, measured: _Measured) -> JudgedBound:
    if bound.attack is not None:
        _check_texts(figure, measured)
    if bound.set in FORGET_SETS:
        figure = widened(figure, measured.unseen.get(bound.figure or ""), bound.by)
    elif bound.concerns_survival:
        figure = of_few(figure)
    try:
        found = alone(figure) if against is None else _paired(bound, measured) or compared(figure, against, bound.by)
    except NoRatio:
        raise _NotJudged("not_measured", figure) from None
    result = _result(bound, found)
    return JudgedBound(
        bound=bound,
        value=found.value,
        low=found.low,
        high=found.high,
        limit_low=bound.low,
        limit_high=bound.high,
        result=result,
        why="underpowered" if result == "underpowered" else None,
        carries=result == "failed" or measured.suffices(bound, figure),
        records=figure.records,
        figure=figure,
        compared=against,
        yardstick=measured.yardstick(bound),
    )


def _result(bound: Bound, found: Compared) -> Result:
    if found.low is None or found.high is None:
        return "underpowered"
    if (bound.low is not None and found.high < bound.low) or (bound.high is not None and found.low > bound.high):
        return "failed"
    if (bound.low is None or found.low >= bound.low) and (bound.high is None or found.high <= bound.high):
        return "passed"
    return "underpowered"


def _check_texts(figure: Figure, measured: _Measured) -> None:
    """Raises _NotJudged where forget and unseen text can be told apart without the model, or nobody looked."""
    baseline = measured.after.across.get("baseline_auc")
    if baseline is None:
        raise _NotJudged("not_measured", figure)
    if baseline.value > SHIFTED:
        raise _NotJudged("shifted_reference_text", figure)


def _pairs(bound: Bound, measured: _Measured) -> list[tuple[Figure, Figure | None]]:
    """The model's figure, of a curve one for each step, and what it is held against. Raises _NotJudged."""
    figures = _figures(bound, measured.after)
    if not figures:
        telling_apart = bound.attack is not None or (bound.across or "").startswith("privleak")
        raise _NotJudged("no_reference_text" if telling_apart and not measured.has_unseen else "not_measured")
    if measured.untrue and _goes_by_retrained(bound):
        raise _NotJudged("reference_knows_the_text", next(iter(figures.values())))
    if bound.against is None:
        return [(figure, None) for figure in figures.values()]
    others = _others(bound, measured, next(iter(figures.values())))
    pairs = [(figure, others[step]) for step, figure in figures.items() if step in others]
    if not pairs:
        raise _NotJudged("not_measured", next(iter(figures.values())))
    return pairs


def _goes_by_retrained(bound: Bound) -> bool:
    """Whether a supplied retrained model decides how the bound comes out."""
    across = bound.across or ""
    found = bound.against == "retrained" or bound.attack == "reference"
    return found or across == "forget_quality" or across.startswith("privleak_")


def _others(bound: Bound, measured: _Measured, figure: Figure) -> dict[int, Figure | None]:
    """What the figure is held against, by step. Raises _NotJudged where there is no unseen text."""
    if bound.against == "before":
        found = {} if measured.before is None else _figures(bound, measured.before)
        return {step: _survivor(bound, one) for step, one in found.items()}
    if measured.retrained is not None and bound.attack != "reference":  # with which it does not attack itself
        # Attacked on the same records, the retrained model is a yardstick as 0.5 is: its AUC counts as known.
        found = _figures(bound, measured.retrained)
        return {step: known(one) if bound.attack is not None else _of_same(one) for step, one in found.items()}
    if bound.attack is not None:
        return {_ONLY: Figure(value=CHANCE, low=CHANCE, high=CHANCE, records=0)}
    if bound.curve is not None or measured.before is None:
        return {}
    if not measured.has_unseen:
        raise _NotJudged("no_reference_text", figure)
    unseen = bound.model_copy(update={"set": "unseen"})
    plain = unseen.model_copy(update={"variant": None})
    found = _figures(unseen, measured.before) or _figures(plain, measured.before)
    if measured.doubted:
        return {step: _of_same(one) for step, one in found.items()}
    # Other records than those to forget, and who asks may have chosen them: few do not tell what others would score.
    return {step: one if one.records >= FEW else unsure(one) for step, one in found.items()}


def _survivor(bound: Bound, figure: Figure) -> Figure:
    """The figure of what must survive as so few records tell it; any other as it is."""
    return of_few(figure) if bound.concerns_survival else _of_same(figure)


def _of_same(one: Figure) -> Figure:
    """Of the very records that the figure beside it is of: without an interval it counts as known."""
    return known(one) if one.low is None or one.high is None else one


def _figures(bound: Bound, measurements: Measurements) -> dict[int, Figure]:
    """The figure that a bound means, by step: a single one, but of a curve; none where it was not measured."""
    if bound.curve is not None:
        return {place.step: place.figure for place in measurements.curves.get(bound.curve, [])}
    found: Figure | None = None
    if bound.attack is not None:
        attack = measurements.attacks.get(bound.attack)
        found = None if attack is None else _auc(attack)
    elif bound.across is not None:
        found = measurements.across.get(bound.across)
    elif bound.benchmark is not None:
        found = measurements.benchmarks.get(bound.benchmark, {}).get(bound.figure or "")
    elif bound.set is not None:
        sets = measurements.sets if bound.variant is None else measurements.variants.get(bound.variant, {})
        found = sets.get(bound.set, {}).get(bound.figure or "")
    return {} if found is None else {_ONLY: found}


def _auc(attack: Attack) -> Figure:
    """The AUC, with the interval that is corrected for how many attacks are judged."""
    if attack.joint is None:
        return attack.auc
    return attack.auc.model_copy(update={"low": attack.joint[0], "high": attack.joint[1]})


def _paired(bound: Bound, measured: _Measured) -> Compared | None:
    """The change of each record, where it was measured: before and after hang together, so it is known far better."""
    if bound.against != "before" or bound.set is None or bound.variant is not None:
        return None
    found = measured.after.sets.get(bound.set, {}).get(f"{bound.figure}_{_PAIRED[bound.by]}")
    if found is None:
        return None
    untouched = bound.by == "ratio" and found.low == found.high == _UNTOUCHED
    return alone(found if untouched else of_few(found))
