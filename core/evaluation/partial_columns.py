"""Columns of a set for which the time was too short: figures stand on them, but they are not kept."""

from collections.abc import Callable, Sequence

from core.evaluation.eval_context import Columns, EvalContext
from core.schema.evaluation import SetName
from core.schema.record import Record


class TimeLimitReached(Exception):
    """The columns of the `done` records that were reached."""

    def __init__(self, columns: Columns, done: int) -> None:
        super().__init__()
        self.columns, self.done = columns, done


def columns_or_partial(
    context: EvalContext, key: str, name: SetName, compute: Callable[[Sequence[Record]], Columns]
) -> tuple[Columns, int | None]:
    """`context.columns`, and None; or what `compute` raised TimeLimitReached with, and how many records that is."""
    try:
        return context.columns(key, name, compute), None
    except TimeLimitReached as short:
        return short.columns, short.done
