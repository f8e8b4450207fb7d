"""Benchmarks: any task of lm-evaluation-harness."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from core.evaluation.measurement import Budgeted, Group, Source
from core.schema.evaluation import MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


class Benchmarks(Budgeted):
    name: ClassVar[str] = "benchmarks"
    summary: ClassVar[str] = (
        "Runs tasks of lm-evaluation-harness by name and gives every metric of each task, with an interval where the"
        " task states a standard error. Tasks in the operator's directory come first; the data must be on the"
        " worker's disk."
    )
    source: ClassVar[Source] = Source(
        title="Gao et al., The Language Model Evaluation Harness",
        url="https://github.com/EleutherAI/lm-evaluation-harness",
    )
    group: ClassVar[Group | None] = None
    reads: ClassVar[frozenset[SetName] | None] = frozenset()
    order: ClassVar[int] = -20  # first, so that a task that cannot run is known soon

    seconds: float = Field(
        default=3600.0,
        gt=0,
        le=604_800,
        description="time limit: after it the measurement stops and says so in `cut_short`",
    )
    records: int | None = Field(
        default=None, ge=1, description="the first examples of each task, at most this many (`limit`); null: all"
    )
    tasks: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(
        min_length=1, max_length=64, description="names of tasks, or of groups of them"
    )
    num_fewshot: int | None = Field(
        default=None, ge=0, le=100, description="solved examples before each question; null: as each task says"
    )
    batch_size: int = Field(default=8, ge=1, le=1024, description="requests in one forward")

    def cache_key_parts(self, context: "EvalContext") -> list[Any]:
        from core.evaluation.lm_eval_tasks import tasks_version

        return [*tasks_version(context.benchmark_tasks), context.benchmark_code]

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.lm_eval_tasks import Harness, TimeUp

        budget, result = self.budget(context), MeasurementResult()
        harness = Harness(
            context.model,
            context.tokenizer,
            directory=context.benchmark_tasks,
            allow_code=context.benchmark_code,
            max_length=context.length,
            batch_size=self.batch_size,
            chat=context.training.chat == "template",
            seed=context.seed,
            expired=budget.expired,
        )
        for name in dict.fromkeys(self.tasks):
            try:
                results = harness.run(name, examples=self.records, fewshot=self.num_fewshot)
            except TimeUp:
                budget.note_left_out(name, done=0, of=1, reason="seconds")
                continue
            figures, broken = results.figures()
            result.benchmarks |= figures
            result.warnings += [f"benchmarks: {metric} is no finite number" for metric in broken]
            for task, done, of in results.counts():
                budget.note_left_out(task, done=done, of=of, reason="records")
        result.cut_short = budget.cut_short
        return result
