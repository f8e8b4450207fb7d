"""How probable the right answer is among wrong ones."""

from typing import TYPE_CHECKING, ClassVar

from core.evaluation.measurement import Budgeted, Makes, Measurement, Source
from core.schema.evaluation import Figure, Found, SetName

if TYPE_CHECKING:
    from core.evaluation.bench import Bench

TOFU = Source(title="TOFU: A Task of Fictitious Unlearning for LLMs", url="https://arxiv.org/abs/2401.06121")


class WrongAnswers(Budgeted):
    name: ClassVar[str] = "wrong_answers"
    summary: ClassVar[str] = (
        "Of every set whose records have wrong answers (`wrong`), `probability_among_wrong`: the mean of"
        " p_right / (p_right + sum of p_wrong), each p being exp(-CE), the geometric mean of the tokens' probabilities."
    )
    makes: ClassVar[Makes] = Makes(figures=("probability_among_wrong",))
    source: ClassVar[Source | None] = TOFU

    def measure(self, bench: "Bench") -> Found:
        import numpy as np

        from core.evaluation.answers import answers
        from core.evaluation.bootstrap import weighted_means
        from core.evaluation.truth_ratio import probability_among_wrong

        budget = bench.budget(self)
        sets: dict[SetName, dict[str, Figure]] = {}
        for name in bench.sets:
            if columns := answers(bench, name, self.records, budget):
                values = probability_among_wrong(columns)
                means = {"probability_among_wrong": (values, np.ones(len(values)))}
                sets[name] = weighted_means(means, bench.resamples(name), through={})
        return Found(sets=sets, cut_short=budget.cut, warnings=[] if sets else unasked(self, bench))


def unasked(measurement: Measurement, bench: "Bench") -> list[str]:
    """That no record has wrong answers; worth saying where there are questions at all."""
    asked = {"probes", "protected"} & set(bench.sets)
    return [f"{measurement.name}: not measured: no record has wrong answers"] if asked else []
