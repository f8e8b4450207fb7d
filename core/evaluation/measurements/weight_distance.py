"""Distance of the weights from those that the job started from, and the loss along the straight line back."""

import math
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.budget import Budget
from core.evaluation.measurement import Budgeted, Group, ProducedFigures, Source
from core.schema.evaluation import Figure, MeasurementResult, Moment, SetName, StepFigure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.evaluation.eval_context import EvalContext
    from core.evaluation.stats.bootstrap import Values
    from core.lm.weight_line import Squares, WeightLine

DISTANCE, OUTSIDE, LAYERS, LINE = (
    "weight_distance",
    "weight_distance_outside",
    "weight_distance_layers",
    "weight_line_loss",
)
PLACES = (0, 25, 50, 75, 100)
"""The measured places on the line, in percent of the way from θ to θ0."""
_OTHER_MODEL = frozenset({"weights_not_in_files", "weights_left_over", "weights_of_another_shape"})


class WeightDistance(Budgeted):
    name: ClassVar[str] = "weight_distance"
    summary: ClassVar[str] = (
        "How far the weights θ are from those that the job started from, θ0: a short way, or a way back on which the"
        " forget set's loss falls steadily, foretells that relearning is easy. `weight_distance`: ‖θ - θ0‖ / ‖θ0‖ over"
        " all weights. `weight_distance_layers`: the same of each layer, as a curve whose points are layers, from 0."
        " `weight_distance_outside`: the same of the weights outside the layers (embeddings, head, last norm)."
        " `weight_line_loss`: the mean loss of the forget records, in nats of a token, at 0, 25, 50, 75 and 100 percent"
        " of the straight line from θ to θ0. Adapters are merged first. Distances describe the weights alone, so they"
        " are known exactly. A retrained model is measured in the same way, if it has the same architecture."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(across=(DISTANCE, OUTSIDE), curves=(LAYERS, LINE))
    source: ClassVar[Source] = Source(
        title="Siddiqui et al. 2025, From Dormant to Deleted: Tamper-Resistant Unlearning Through Weight-Space"
        " Regularization",
        url="https://arxiv.org/abs/2505.22310",
    )
    group: ClassVar[Group | None] = "thorough"
    moments: ClassVar[frozenset[Moment]] = frozenset({"after", "retrained"})
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget"})
    reads: ClassVar[frozenset[SetName]] = frozenset({"forget"})
    changes_weights: ClassVar[bool] = True

    records: int | None = Field(default=200, ge=1, description="at most this many forget records; null: all")

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.record_scores import record_scores
        from core.lm import adapter
        from core.lm.errors import CoreError
        from core.lm.weight_line import WeightLine

        if context.original_directory is None:
            return MeasurementResult(
                warnings=[f"{self.name}: not measured: the model that this one was made from is not given"]
            )
        budget = self.budget(context)
        indices = context.subset_indices("forget", self.records)
        budget.note_left_out("forget", done=len(indices), of=len(context.sets["forget"]), reason="records")
        start = record_scores(context, "forget")["loss"][indices]
        if adapter.has_adapter(context.model):
            adapter.merge(context.model)
        line = WeightLine(context.model, context.original_directory)
        try:
            result = _distances(context, line.squares())
        except CoreError as error:
            if error.code not in _OTHER_MODEL:
                raise
            message = f"{self.name}: not measured: the weights are not those of the model before ({error.message})"
            return MeasurementResult(warnings=[message])
        self._walk(context, line, indices, start, budget, result)
        result.cut_short = budget.cut_short
        return result

    def _walk(
        self,
        context: "EvalContext",
        line: "WeightLine",
        indices: list[int],
        start: "Values",
        budget: Budget,
        result: MeasurementResult,
    ) -> None:
        """Moves the model along the line and adds the curve of the forget records' loss to the result."""
        from core.evaluation.scores.likelihood import cross_entropies
        from core.lm.errors import CoreError

        records = [context.sets["forget"][index] for index in indices]
        points = [_point(context, 0, start)]
        for place, following in pairwise(PLACES):
            if budget.expired():
                budget.note_left_out(LINE, done=len(points), of=len(PLACES), reason="seconds")
                break
            line.move(start=place / 100, to=following / 100)
            try:
                statistics = context.statistics(records, label="forget")
            except CoreError as error:
                if error.code != "not_finite":
                    raise
                result.warnings.append(f"{self.name}: the loss {following} % of the way back is no finite number")
                continue
            points.append(_point(context, following, cross_entropies(statistics)))
        result.curves[LINE] = points


def _distances(context: "EvalContext", squares: "dict[str, Squares]") -> MeasurementResult:
    """The relative distances overall, of each layer, and outside the layers."""
    layer_of = _layer_numbers(context, squares)
    by_layer: dict[int | None, list[Squares]] = {}
    for name, weight in squares.items():
        by_layer.setdefault(layer_of.get(name), []).append(weight)
    figures = {layer: _relative(weights) for layer, weights in by_layer.items()}
    across = {DISTANCE: _relative(squares.values()), OUTSIDE: figures.pop(None, None)}
    curve = [
        StepFigure(step=layer, figure=figure)
        for layer, figure in sorted(figures.items(), key=lambda item: item[0] or 0)
        if layer is not None and figure is not None
    ]
    if not layer_of:
        del across[OUTSIDE]
    return MeasurementResult(
        across={name: figure for name, figure in across.items() if figure is not None},
        curves={LAYERS: curve} if curve else {},
        warnings=[] if layer_of else [f"{WeightDistance.name}: the model has no list of layers to tell apart"],
    )


def _layer_numbers(context: "EvalContext", names: "Iterable[str]") -> dict[str, int]:
    """The layer of each weight in a layer, from 0; empty where the model has no list of layers."""
    from core.lm.residual_stream import find_layers

    try:
        layers = find_layers(context.model)[2]
    except AttributeError:
        return {}
    prefix = next(name for name, module in context.model.named_modules() if module is layers)
    inside = (name for name in names if name.startswith(f"{prefix}."))
    return {name: int(name.removeprefix(f"{prefix}.").partition(".")[0]) for name in inside}


def _relative(weights: "Iterable[Squares]") -> Figure | None:
    """‖θ - θ0‖ / ‖θ0‖ of some weights together; None where θ0 is 0 and θ is not."""
    weights = list(weights)
    difference, end = sum(weight.difference for weight in weights), sum(weight.end for weight in weights)
    if end == 0 and difference > 0:
        return None
    value = math.sqrt(difference / end) if end else 0.0
    return Figure(value=value, low=value, high=value, records=0)


def _point(context: "EvalContext", place: int, losses: "Values") -> StepFigure:
    import numpy as np

    from core.evaluation.stats.bootstrap import AMOUNT, weighted_means

    column = {"loss": (losses, np.ones(len(losses)))}
    means = weighted_means(column, context.resamples("forget"), through={}, ranges={"loss": AMOUNT})
    return StepFigure(step=place, figure=means["loss"])
