"""Figures by open-unlearning's own definitions, where they differ from ours, for the preset `tofu`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import Budgeted, Group, Source
from core.schema.evaluation import Figure, MeasurementResult, SetName
from core.schema.record import Record

if TYPE_CHECKING:
    from core.evaluation.eval_context import Columns, EvalContext


class OpenUnlearning(Budgeted):
    name: ClassVar[str] = "open_unlearning"
    summary: ClassVar[str] = (
        "Figures as open-unlearning defines them. Of forget records: `extraction_strength_open_unlearning` (never"
        " below 1/n, without the last token), `exact_memorization_open_unlearning` (without the last token) and"
        " `rouge_open_unlearning` (ROUGE-L recall of the model's most probable answers, by word stems). Of records"
        " with wrong answers: `paraphrased_probability_open_unlearning` and `wrong_probability_open_unlearning`. Of"
        " forget against unseen: `mia_min_k_open_unlearning` and `mia_min_k++_open_unlearning` (AUC at 40 %, without"
        " the last token), and `privleak_open_unlearning` from the first of these."
    )
    source: ClassVar[Source | None] = Source(
        title="OpenUnlearning: Accelerating LLM Unlearning via Unified Benchmarking of Methods and Metrics",
        url="https://arxiv.org/abs/2506.12618",
    )
    group: ClassVar[Group | None] = None
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget"})
    order: ClassVar[int] = 10

    tokens: int = Field(default=200, ge=1, le=4096, description="at most this many tokens of an answer")

    def measure(self, context: "EvalContext") -> MeasurementResult:
        import numpy as np

        from core.evaluation.generation.greedy_answers import answer_overlap
        from core.evaluation.scores.answer_probabilities import answer_losses
        from core.evaluation.stats.bootstrap import weighted_means

        budget = self.budget(context)
        indices = context.subset_indices("forget", self.records)
        budget.note_left_out("forget", done=len(indices), of=len(context.sets["forget"]), reason="records")
        columns = _columns(context, "forget")
        resamples = context.resamples("forget")
        equal = np.ones(len(columns["min_k"]))
        means = {"extraction_strength_open_unlearning": (columns["extraction_strength"], equal)}
        figures = weighted_means(means, resamples, through={})
        if (counted := columns["exact_counts"] > 0).any():
            exact = columns["exact_memorization"][counted]
            exact_mean = {"exact_memorization_open_unlearning": (exact, np.ones(len(exact)))}
            figures |= weighted_means(exact_mean, resamples, through={})
        recall = answer_overlap(context, "forget", indices, budget, tokens=self.tokens, words="stems")["recall"]
        figures |= weighted_means({"rouge_open_unlearning": (recall, np.ones(len(recall)))}, resamples, through={})
        result = MeasurementResult(sets={"forget": figures}, cut_short=budget.cut_short)
        for name in context.sets:
            if name not in ("forget", "probes") or (losses := answer_losses(context, name, None, budget)) is None:
                continue
            equal = np.ones(len(losses["true"]))
            means = {
                "paraphrased_probability_open_unlearning": (np.exp(-losses["true"]), equal),
                "wrong_probability_open_unlearning": (np.exp(losses["wrong_log_sum"]) / losses["wrong_count"], equal),
            }
            result.sets.setdefault(name, {}).update(weighted_means(means, context.resamples(name), through={}))
        self._attack(context, columns, result)
        return result

    def _attack(self, context: "EvalContext", forget: "Columns", result: MeasurementResult) -> None:
        """Adds the membership attacks on forget against unseen, and privleak, to the result."""
        from core.evaluation.attacks import membership, privleak

        if "unseen" not in context.sets:
            result.warnings.append(f"{self.name}: no membership attack without records of unseen")
            return
        unseen, resamples = _columns(context, "unseen"), context.resamples("membership")
        for attack in ("min_k", "min_k++"):
            figure, _ = membership.bootstrap_auc(forget[attack], unseen[attack], resamples)
            result.across[f"mia_{attack}_open_unlearning"] = figure
        retrained = None
        if context.retrained is not None:
            computed = all(context.retrained.computed_columns(KEY, name) for name in ("forget", "unseen"))
            if not computed:
                context.unload_model()  # memory may not hold two models
            scores = [_columns(context.retrained, name)["min_k"] for name in ("forget", "unseen")]
            context.retrained.unload_model()
            retrained = (scores[0], scores[1])
        leak: Figure | None = privleak.privleak((forget["min_k"], unseen["min_k"]), retrained, resamples)
        if leak is None:
            result.warnings.append(f"{self.name}: privleak is undefined where the retrained model's own AUC is 1")
        else:
            result.across["privleak_open_unlearning"] = leak
            note = privleak.CHANCE_NOTE if retrained is None else privleak.RETRAINED_NOTE
            result.notes["privleak_open_unlearning"] = note


KEY = "open-unlearning"


def _columns(context: "EvalContext", name: SetName) -> "Columns":
    from core.evaluation.scores import open_unlearning

    def compute(records: Sequence[Record]) -> "Columns":
        return open_unlearning.columns(context.statistics(records, label=name))

    return context.columns(KEY, name, compute)
