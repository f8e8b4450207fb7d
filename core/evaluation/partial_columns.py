"""Columns that a time limit cut short: figures are made from them, but they are not cached."""

from collections.abc import Callable, Sequence

from core.evaluation.eval_context import Columns, EvalContext
from core.schema.evaluation import SetName
from core.schema.record import Record


class TimeLimitReached(Exception):
    """Carries the columns of the `done` records that were reached in time."""

    def __init__(self, columns: Columns, done: int) -> None:
        super().__init__()
        self.columns, self.done = columns, done


def columns_or_partial(
    context: EvalContext, key: str, name: SetName, compute: Callable[[Sequence[Record]], Columns]
) -> tuple[Columns, int | None]:
    """(the columns of `context.columns`, None), or the partial columns and the number of records that they hold."""
    try:
        return context.columns(key, name, compute), None
    except TimeLimitReached as partial:
        return partial.columns, partial.done
