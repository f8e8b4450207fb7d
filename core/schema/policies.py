"""Policies and verdicts: what a model must keep within after unlearning, and how it did."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from core.schema import figure_names
from core.schema.evaluation import Figure, SetName
from core.schema.strict import Strict

Verdict = Literal["passed", "failed", "not_judged"]

ComparedWith = Literal["before", "retrained"]
"""`before`: the same figure of the model that the job started from. `retrained`: what a model retrained without the
forget set would score: the supplied one's own figure, or, without one, the original's on unseen text (0.5 of an attack;
a curve has nothing to be held against then). The attack `reference`, which that model makes, is held against 0.5."""

Yardstick = Literal["before", "retrained_model", "unseen_text", "chance"]
"""What a bound was held against in the end: the model before; the retrained model that the job names; without one, what
the model before scores on unseen text; or 0.5, the AUC of an attack that only guesses."""

Comparison = Literal["difference", "ratio"]

Reason = Literal[
    "underpowered", "no_reference_text", "shifted_reference_text", "reference_knows_the_text", "not_measured"
]
"""Why there is no verdict: the interval is too wide to tell; there is no unseen text; forget and unseen text can be
told apart without any model; what was supplied as a retrained model has seen the forget set; a figure that the policy
asks for is missing."""

Result = Literal["passed", "failed", "underpowered", "not_judged"]
Scope = Literal["verbatim", "facts"]
"""What was looked at: the text, or also questions about what it says (probes, or `cloze_fill`). That a text is not
continued from its own words (`cloze`) is of the text."""

POLICY_NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"
BOUND_NAME = r"^[a-z0-9][a-z0-9._+-]{0,63}$"
FORGET_SETS: frozenset[SetName] = frozenset({"forget", "probes"})


class Bound(Strict):
    """One figure, what it is compared with, and the limits that the *whole* 95 % interval must lie within."""

    name: str = Field(pattern=BOUND_NAME, examples=["retain"], description="unique in its policy")
    set: SetName | None = Field(default=None, description="whose `figure` is meant")
    figure: str | None = Field(default=None, max_length=128, description="of the set, variant or benchmark")
    variant: str | None = Field(default=None, max_length=32, description="a changed copy of the model, such as `int4`")
    attack: str | None = Field(default=None, max_length=64, description="the AUC of this membership attack")
    across: str | None = Field(default=None, max_length=64, description="a figure of several sets or models")
    curve: str | None = Field(
        default=None, max_length=64, description="every place of this curve: the one that is worst in the limits counts"
    )
    benchmark: str | None = Field(default=None, max_length=128, description="the task whose metric `figure` is")
    against: ComparedWith | None = Field(default=None, description="null: the limits are of the figure itself")
    by: Comparison = Field(default="difference", description="how it is compared: `difference` or `ratio`")
    low: float | None = Field(default=None, description="the interval may not lie below it")
    high: float | None = Field(default=None, description="the interval may not lie above it")
    judged_from: int = Field(
        default=1,
        ge=1,
        description="where there are fewer records to forget (of `retain` and its like: of the set), however many were"
        " looked at, the bound counts only where it is `failed`: that it is passed or `underpowered` has no part in the"
        " verdict",
    )
    optional_from: int | None = Field(
        default=None,
        ge=0,
        description="from so many records to forget on, a figure that was not measured is not missed; 0: never missed;"
        " null: always",
    )
    added: bool = Field(default=False, description="by a request to a pinned policy: it alone never shows forgetting")

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
        of_sets = figure_names.SET_FIGURES if self.variant is None else figure_names.VARIANT_FIGURES
        for value, known, what in (
            (self.variant, figure_names.VARIANTS, "variant"),
            (self.figure if self.set else None, of_sets, "figure of a set"),
            (self.attack, figure_names.ATTACKS, "attack"),
            (self.across, figure_names.ACROSS_FIGURES, "figure across sets"),
            (self.curve, figure_names.CURVES, "curve"),
        ):
            if value is not None and value not in known:
                raise ValueError(f"there is no such {what}: choose of {', '.join(known)}")
        if self.set is not None and self.figure is not None and self.set not in of_sets[self.figure]:
            raise ValueError(f"`{self.figure}` is measured of {', '.join(of_sets[self.figure])}, not of {self.set}")
        return self

    @model_validator(mode="after")
    def _limits(self) -> "Bound":
        if self.low is None and self.high is None:
            raise ValueError("a bound has a limit: low, high, or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low is above high")
        if self.by == "ratio" and any(limit is not None and limit <= 0 for limit in (self.low, self.high)):
            raise ValueError("limits of a ratio are above 0")
        return self

    @property
    def concerns_forgetting(self) -> bool:
        """Whether it says something of what must be forgotten, not of what must survive."""
        return (
            self.set in FORGET_SETS
            or self.attack is not None
            or self.curve is not None
            or self.across
            in (
                "forget_quality",
                *(name for name in figure_names.ACROSS_FIGURES if name.startswith("privleak_")),
            )
        )

    @property
    def concerns_survival(self) -> bool:
        """Whether it is of records of what must survive, or was never known."""
        return self.across == "model_utility" or (self.set is not None and self.set not in FORGET_SETS)

    @property
    def compared_figure(self) -> tuple[object, ...]:
        """What it is about, limits apart."""
        figure = (self.set, self.figure, self.variant, self.attack, self.across, self.curve, self.benchmark)
        return (*figure, self.against, self.by)


class PolicyLoosened(ValueError):
    """A policy asks for less than the one that is pinned."""


class Bounds(Strict):
    """A list of bounds: what a request adds to the policy of its model, or makes tighter there."""

    name: str = Field(pattern=POLICY_NAME, examples=["default"], description="by which requests name it")
    description: str | None = Field(default=None, max_length=2000, description="what it is for")
    bounds: list[Bound] = Field(min_length=1, max_length=200, description="each of which must be passed")

    @field_validator("bounds")
    @classmethod
    def _each_name_once(cls, bounds: list[Bound]) -> list[Bound]:
        names = [bound.name for bound in bounds]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"bounds of the same name: {', '.join(twice)}")
        return bounds


class Policy(Bounds):
    """A list of bounds that a model can be held to. It is passed when every one is."""

    @field_validator("bounds")
    @classmethod
    def _one_forgets(cls, bounds: list[Bound]) -> list[Bound]:
        if not any(bound.concerns_forgetting for bound in bounds):
            raise ValueError("no bound is about what must be forgotten: nothing could pass")
        return bounds

    def tightened(self, by: Bounds) -> "Policy":
        """This policy with those bounds, which may be tighter or further ones. Raises PolicyLoosened."""
        wished = {bound.name: bound for bound in by.bounds}
        whole = [wished.pop(bound.name, bound) for bound in self.bounds]
        whole = [bound.model_copy(update={"added": False}) for bound in whole]
        whole += [bound.model_copy(update={"added": True}) for bound in wished.values()]
        made = Policy(name=by.name, description=by.description, bounds=whole)
        if problems := loosened_bounds(self, made):
            raise PolicyLoosened("; ".join(problems))
        return made


def loosened_bounds(pinned: Policy, wished: Policy) -> list[str]:
    """What the wished policy would let pass that the pinned one does not: a sentence each."""
    bounds = {bound.name: bound for bound in wished.bounds}
    problems = []
    for bound in pinned.bounds:
        other = bounds.get(bound.name)
        if other is None:
            problems.append(f"bound '{bound.name}' is missing")
        elif other.compared_figure != bound.compared_figure:
            problems.append(f"bound '{bound.name}' compares something else")
        else:
            problems += [f"bound '{bound.name}': {problem}" for problem in _looser(bound, other)]
    return problems


def _looser(pinned: Bound, wished: Bound) -> list[str]:
    problems = []
    if pinned.low is not None and (wished.low is None or wished.low < pinned.low):
        problems.append(f"low may not be under {pinned.low:g}")
    if pinned.high is not None and (wished.high is None or wished.high > pinned.high):
        problems.append(f"high may not be over {pinned.high:g}")
    if wished.judged_from > pinned.judged_from:
        problems.append(f"judged_from may not be over {pinned.judged_from}")
    if wished.optional_from is not None and (
        pinned.optional_from is None or wished.optional_from < pinned.optional_from
    ):
        allowed = "null" if pinned.optional_from is None else f"{pinned.optional_from} or more, or null"
        problems.append(f"optional_from must be {allowed}")
    return problems


class JudgedBound(Strict):
    """How one bound was kept."""

    bound: Bound = Field(description="as the policy has it")
    value: float | None = Field(
        default=None, description="what the limits are of: the figure, or its difference or ratio"
    )
    low: float | None = Field(default=None, description="the 95 % interval's end")
    high: float | None = Field(default=None, description="the other end")
    limit_low: float | None = Field(description="that the interval had to stay above")
    limit_high: float | None = Field(description="that the interval had to stay below")
    result: Result = Field(description="how it was kept")
    why: Reason | None = Field(default=None, description="why it is `not_judged`, or that it is `underpowered`")
    carries: bool = Field(description="whether it has a part in the verdict")
    records: int | None = Field(default=None, description="how many the figure stands on")
    figure: Figure | None = Field(default=None, description="as measured after")
    compared: Figure | None = Field(default=None, description="what it is held against")
    yardstick: Yardstick | None = Field(
        default=None,
        description="where that comes from: `before`, the model before; `retrained_model`, the one that the job names;"
        " `unseen_text`, without one, the model before on text that it never saw; `chance`, an AUC of 0.5. Null: the"
        " limits are of the figure itself, or there was nothing to hold it against",
    )


class Judgement(Strict):
    """A policy's verdict on one model."""

    policy: str = Field(description="the policy's name")
    verdict: Verdict = Field(description="on the whole")
    reason: Reason | None = Field(default=None, description="why it is `not_judged`")
    scope: Scope = Field(description="what was looked at: the text, or facts asked about it too")
    warnings: list[str] = Field(default=[], description="what must survive that the verdict says nothing of")
    bounds: list[JudgedBound] = Field(description="one by one")
