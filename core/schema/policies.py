"""Policies and verdicts: the limits that a model must meet after unlearning, and whether it met them."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from core.schema import figure_names
from core.schema.evaluation import Figure, SetName
from core.schema.strict import Strict
from core.schema.verdict_parts import MEMBERSHIP_FIGURES, Part, PartVerdict, Reason, Requires, Verdict

ComparedWith = Literal["before", "retrained"]
"""`before`: the same figure of the model that the job started from. `retrained`: the figure of a model retrained
without the forget set. Where the job names such a model, it is that model's own figure. Else it is the figure of the
model before on unseen text, or 0.5 for an attack; a curve then has nothing to compare with. The attack `reference` is
made with the retrained model itself and is always compared with 0.5."""

Yardstick = Literal["before", "retrained_model", "unseen_text", "chance"]
"""What a figure was compared with: the model before; the retrained model that the job names; without one, the model
before on unseen text; or `chance`, the AUC 0.5 of an attack that only guesses."""

Comparison = Literal["difference", "ratio"]

Result = Literal["passed", "failed", "underpowered", "not_judged"]
Scope = Literal["verbatim", "facts"]
"""What the verdict covers. `verbatim`: the text itself, including its continuation from its own words (`cloze`).
`facts`: questions about its content too (probes, or `cloze_fill`)."""

POLICY_NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"
BOUND_NAME = r"^[a-z0-9][a-z0-9._+-]{0,63}$"
FORGET_SETS: frozenset[SetName] = frozenset({"forget", "probes"})


class Bound(Strict):
    """One figure, what it is compared with, and the limits that its *whole* 95 % interval must lie within."""

    name: str = Field(pattern=BOUND_NAME, examples=["retain"], description="The bound's name, unique in its policy.")
    set: SetName | None = Field(default=None, description="The set that the `figure` is measured on.")
    figure: str | None = Field(default=None, max_length=128, description="The figure of the `set` or the `benchmark`.")
    variant: str | None = Field(
        default=None, max_length=32, description="The changed copy of the model that is measured, such as `int4`."
    )
    attack: str | None = Field(default=None, max_length=64, description="The membership attack whose AUC is meant.")
    across: str | None = Field(
        default=None, max_length=64, description="The name of a figure of several sets or models."
    )
    curve: str | None = Field(
        default=None,
        max_length=64,
        description="The curve that is meant. Each of its points must keep the limits; the worst one is shown.",
    )
    benchmark: str | None = Field(default=None, max_length=128, description="The task whose metric the `figure` is.")
    against: ComparedWith | None = Field(
        default=None,
        description="What the figure is compared with: `before`, the model that the job started from, or `retrained`, a"
        " model retrained without the text to forget. Null: the limits apply to the figure itself.",
    )
    by: Comparison = Field(
        default="difference", description="How the figure is compared: its `difference` to the other, or their `ratio`."
    )
    low: float | None = Field(default=None, description="The lower limit of the interval.")
    high: float | None = Field(default=None, description="The upper limit of the interval.")
    high_alone: float | None = Field(
        default=None,
        description="The upper limit of the figure itself. It applies if the figure would be compared with unseen text"
        " and there are fewer than 20 unseen records that have the figure. Null: the bound is not judged then.",
    )
    judged_from: int = Field(
        default=1,
        ge=1,
        description="The number of records from which the bound counts fully. It is the number of records to forget,"
        " however many were measured; for a bound on a set that must be kept, the number of records in that set. With"
        " fewer records the bound counts only if it has `failed`.",
    )
    optional_from: int | None = Field(
        default=None,
        ge=0,
        description="The number of records to forget from which the figure need not be measured. 0: it need never be"
        " measured. Null: it must always be measured.",
    )
    added: bool = Field(
        default=False,
        description="Whether a request added the bound to a pinned policy. Such a bound alone never shows forgetting.",
    )

    @model_validator(mode="after")
    def _means_one_figure(self) -> "Bound":
        kinds = {name: getattr(self, name) for name in ("set", "attack", "across", "curve", "benchmark")}
        named = [name for name, value in kinds.items() if value is not None]
        if len(named) != 1:
            raise ValueError(f"name exactly one of: {', '.join(kinds)}")
        if (self.figure is not None) != (named[0] in ("set", "benchmark")):
            raise ValueError("`figure` goes with `set` or `benchmark`, and they with it")
        if self.variant is not None and named != ["set"]:
            raise ValueError("`variant` goes with `set`")
        if self.against == "retrained" and not (set(named) & {"attack", "curve"} or self.set in FORGET_SETS):
            raise ValueError("against `retrained` can stand figures of what is forgotten, attacks and curves")
        if self.against is None and self.curve is not None:
            raise ValueError("a curve is compared: against `before` or `retrained`")
        if self.against is None and self.by == "ratio":
            raise ValueError("a ratio needs `against`")
        return self

    @model_validator(mode="after")
    def _known(self) -> "Bound":
        figures = figure_names.SET_FIGURES if self.variant is None else figure_names.VARIANT_FIGURES
        for value, known, kind in (
            (self.variant, figure_names.VARIANTS, "variant"),
            (self.figure if self.set else None, figures, "figure of a set"),
            (self.attack, figure_names.ATTACKS, "attack"),
            (self.across, figure_names.ACROSS_FIGURES, "figure across sets"),
            (self.curve, figure_names.CURVES, "curve"),
        ):
            if value is not None and value not in known:
                raise ValueError(f"there is no such {kind}: choose of {', '.join(known)}")
        if self.set is not None and self.figure is not None and self.set not in figures[self.figure]:
            raise ValueError(f"`{self.figure}` is measured of {', '.join(figures[self.figure])}, not of {self.set}")
        return self

    @model_validator(mode="after")
    def _limits(self) -> "Bound":
        if self.low is None and self.high is None:
            raise ValueError("a bound has a limit: low, high, or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low is above high")
        if self.by == "ratio" and any(limit is not None and limit <= 0 for limit in (self.low, self.high)):
            raise ValueError("limits of a ratio are above 0")
        if self.high_alone is not None and (self.set not in FORGET_SETS or self.against != "retrained"):
            raise ValueError("`high_alone` goes with a figure of what is forgotten, against `retrained`")
        return self

    @property
    def part(self) -> Part | None:
        """The part of the verdict that the bound belongs to; None: it is of what must survive."""
        if self.set in FORGET_SETS:
            return "membership" if self.figure in MEMBERSHIP_FIGURES else "extraction"
        return None if self.concerns_survival or self.benchmark is not None else "membership"

    @property
    def of_these_records(self) -> bool:
        """Whether the figure is of these very records: other records of the same kind make it no less certain."""
        return self.figure in figure_names.OF_THESE_RECORDS or self.across == figure_names.PREVIOUSLY_FORGOTTEN

    @property
    def concerns_forgetting(self) -> bool:
        """Whether the bound is about what the model must forget, not about what it must keep."""
        return (
            self.set in FORGET_SETS
            or self.attack is not None
            or self.curve in figure_names.RELEARNING_CURVES
            or self.across
            in (
                "forget_quality",
                *figure_names.RELEARNED_WORST,
                *figure_names.RELEARNED_SYMMETRIC,
                *(name for name in figure_names.ACROSS_FIGURES if name.startswith("privleak_")),
            )
        )

    @property
    def concerns_survival(self) -> bool:
        """True where the bound is about records that the model must keep, or that it did not know before the job."""
        survivors = ("model_utility", figure_names.PREVIOUSLY_FORGOTTEN)
        return self.across in survivors or (self.set is not None and self.set not in FORGET_SETS)

    @property
    def compared_figure(self) -> tuple[object, ...]:
        """The figure and its comparison, without the limits."""
        figure = (self.set, self.figure, self.variant, self.attack, self.across, self.curve, self.benchmark)
        return (*figure, self.against, self.by)


class PolicyLoosened(ValueError):
    """A policy asks for less than the policy that is pinned to the model."""


class Bounds(Strict):
    """A list of bounds that a request adds to the policy of its model, or that make the policy's bounds tighter."""

    name: str = Field(pattern=POLICY_NAME, examples=["default"], description="The name, which requests use.")
    description: str | None = Field(default=None, max_length=2000, description="What the bounds are for.")
    bounds: list[Bound] = Field(min_length=1, max_length=200, description="The bounds. The result must pass each.")
    requires: Requires | None = Field(
        default=None,
        description="The number of records to forget from which each part of the verdict must be passed. Null: as the"
        " pinned policy says.",
    )

    @field_validator("bounds")
    @classmethod
    def _each_name_once(cls, bounds: list[Bound]) -> list[Bound]:
        names = [bound.name for bound in bounds]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"bounds of the same name: {', '.join(repeated)}")
        return bounds


class Policy(Bounds):
    """A list of bounds that a model must meet, and the parts of the verdict that a release requires.

    The policy is passed if every required part is, and every bound on what the model must keep.
    """

    requires: Requires = Field(
        default=Requires(),
        description="The number of records to forget from which each part of the verdict must be passed. By default"
        " the part `extraction` is required from 1 record on, and `membership` from 20 records on.",
    )

    @field_validator("bounds")
    @classmethod
    def _one_forgets(cls, bounds: list[Bound]) -> list[Bound]:
        if not any(bound.concerns_forgetting for bound in bounds):
            raise ValueError("no bound is about what must be forgotten: nothing could pass")
        return bounds

    def tightened(self, by: Bounds) -> "Policy":
        """Returns this policy with the given bounds added, or in place of its own. Raises PolicyLoosened."""
        added = {bound.name: bound for bound in by.bounds}
        bounds = [added.pop(bound.name, bound) for bound in self.bounds]
        bounds = [bound.model_copy(update={"added": False}) for bound in bounds]
        bounds += [bound.model_copy(update={"added": True}) for bound in added.values()]
        requested = {} if by.requires is None else by.requires.model_dump(exclude_unset=True)
        requires = Requires(**{**self.requires.model_dump(), **requested})
        policy = Policy(name=by.name, description=by.description, bounds=bounds, requires=requires)
        if problems := loosened_bounds(self, policy):
            raise PolicyLoosened("; ".join(problems))
        return policy


def loosened_bounds(pinned: Policy, requested: Policy) -> list[str]:
    """Returns a sentence for each bound and part of the pinned policy that the requested policy lacks or loosens."""
    bounds = {bound.name: bound for bound in requested.bounds}
    problems = []
    for bound in pinned.bounds:
        other = bounds.get(bound.name)
        if other is None:
            problems.append(f"bound '{bound.name}' is missing")
        elif other.compared_figure != bound.compared_figure:
            problems.append(f"bound '{bound.name}' compares something else")
        else:
            problems += [f"bound '{bound.name}': {problem}" for problem in _loosened_limits(bound, other)]
    return problems + pinned.requires.loosened_by(requested.requires)


def _loosened_limits(pinned: Bound, requested: Bound) -> list[str]:
    problems = []
    if pinned.low is not None and (requested.low is None or requested.low < pinned.low):
        problems.append(f"low may not be under {pinned.low:g}")
    if pinned.high is not None and (requested.high is None or requested.high > pinned.high):
        problems.append(f"high may not be over {pinned.high:g}")
    if requested.high_alone is not None and (pinned.high_alone is None or requested.high_alone > pinned.high_alone):
        allowed = "null" if pinned.high_alone is None else f"{pinned.high_alone:g} or less, or null"
        problems.append(f"high_alone must be {allowed}")
    if requested.judged_from > pinned.judged_from:
        problems.append(f"judged_from may not be over {pinned.judged_from}")
    if requested.optional_from is not None and (
        pinned.optional_from is None or requested.optional_from < pinned.optional_from
    ):
        allowed = "null" if pinned.optional_from is None else f"{pinned.optional_from} or more, or null"
        problems.append(f"optional_from must be {allowed}")
    return problems


class JudgedBound(Strict):
    """Whether the model met one bound."""

    bound: Bound = Field(description="The bound, as the policy has it.")
    part: Part | None = Field(
        default=None, description="The part of the verdict that the bound belongs to. Null: it is about what must stay."
    )
    value: float | None = Field(
        default=None, description="The number that the limits apply to: the figure, or its difference or ratio."
    )
    low: float | None = Field(
        default=None, description="The lower end of the number's 95 % interval; of an AUC, of its `joint` interval."
    )
    high: float | None = Field(
        default=None, description="The upper end of the number's 95 % interval; of an AUC, of its `joint` interval."
    )
    limit_low: float | None = Field(description="The lower limit of the interval.")
    limit_high: float | None = Field(description="The upper limit of the interval.")
    result: Result = Field(description="Whether the interval kept the limits.")
    why: Reason | None = Field(default=None, description="Why the result is `not_judged` or `underpowered`.")
    carries: bool = Field(description="Whether the bound has a part in the verdict.")
    records: int | None = Field(default=None, description="The number of records that the figure was measured on.")
    figure: Figure | None = Field(default=None, description="The figure of the model after the job.")
    compared: Figure | None = Field(default=None, description="The figure that it is compared with.")
    yardstick: Yardstick | None = Field(
        default=None,
        description="Where the compared figure comes from. `before`: the model before the job. `retrained_model`: the"
        " retrained model that the job names. `unseen_text`: without such a model, the model before on text that it"
        " never saw. `chance`: the AUC 0.5. Null: the limits apply to the figure itself, or there was nothing to"
        " compare with.",
    )


class Judgement(Strict):
    """A policy's verdict on one model."""

    policy: str = Field(description="The policy's name.")
    verdict: Verdict = Field(description="The verdict on all bounds together.")
    reason: Reason | None = Field(default=None, description="Why the verdict is `not_judged`.")
    parts: dict[Part, PartVerdict] = Field(
        default={},
        description="The verdict on each part. `extraction`: whether the text can still be got out. `membership`:"
        " whether it can be told that the model has seen the text. A part without a bound in the policy is missing.",
    )
    scope: Scope = Field(
        description="What the verdict covers. `verbatim`: the text itself. `facts`: questions about its content too."
    )
    warnings: list[str] = Field(
        default=[],
        description="What the model must keep that the verdict says nothing about, and which earlier jobs' text has"
        " come back or could not be measured again.",
    )
    assumption: str | None = Field(
        default=None,
        description="What the verdict takes for granted of the text that the job made itself. Null: it made none.",
    )
    bounds: list[JudgedBound] = Field(description="The result of each bound.")
