"""The straight line from a model's weights, θ, to other weights of the same model, θ0, which stay on disk."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from core.lm.errors import CoreError
from core.lm.tensor_files import open_files
from core.lm.weight_conversion import Origins

_PIECE = 1 << 22
"""Elements of a weight that are widened at a time."""


@dataclass(frozen=True)
class Squares:
    """Sums over a weight's elements, in float64."""

    difference: float
    """‖θ - θ0‖²."""
    end: float
    """‖θ0‖²."""


class WeightLine:
    """The line from the model's weights to those of a directory, which are read one weight at a time.

    Files of any number, dtype, and tensors that the model joins or splits as it loads them (experts, say) are read as
    transformers loads them. Weights that layers share are counted and moved once. Buffers are left out.
    """

    def __init__(self, model: PreTrainedModel, directory: Path) -> None:
        """The model has no adapter: merge it first."""
        self._model, self._directory = model, directory

    @torch.no_grad()
    def squares(self) -> dict[str, Squares]:
        """Returns ‖θ - θ0‖² and ‖θ0‖² of each weight, by its name in the model. Raises CoreError as `move` does."""
        sums: dict[str, Squares] = {}
        for name, weight, end in self._weights():
            difference = size = 0.0
            for here, there in _pieces(weight, end):
                difference += float((here - there).double().square().sum())
                size += float(there.double().square().sum())
            sums[name] = Squares(difference, size)
        return sums

    @torch.no_grad()
    def move(self, *, start: float, to: float) -> None:
        """Moves the model in place along the line, from the place `start` (0: θ, 1: θ0) where it is.

        At 1 the weights are exactly θ0; in between they are rounded to their dtype in memory.
        Raises CoreError `weights_not_in_files`, `weights_left_over` and `weights_of_another_shape` where the files hold
        another model.
        """
        share = (to - start) / (1 - start)
        for _, weight, end in self._weights():
            for piece, (here, there) in zip(_rows(weight), _pieces(weight, end), strict=True):
                piece.copy_(torch.lerp(here, there, share))

    def _weights(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yields each weight of the model with its name, and its end on the line, as it lies in the files."""
        parameters = dict(self._model.named_parameters(remove_duplicate=False))
        with ExitStack() as stack:
            files = {name: file for file in open_files(self._directory, stack) for name in file.entries}
            shapes = {name: file.entries[name].shape for name, file in files.items()}
            seen: set[int] = set()
            for name, end in Origins(self._model, shapes).convert(shapes, lambda name: files[name].read(name)):
                weight = parameters.get(name)
                if weight is None or not weight.is_floating_point() or weight.data_ptr() in seen:
                    continue
                if weight.shape != end.shape:
                    message = f"'{name}' is {list(weight.shape)} in the model and {list(end.shape)} in the files"
                    raise CoreError("weights_of_another_shape", message)
                seen.add(weight.data_ptr())
                yield name, weight.detach(), end


def _pieces(weight: Tensor, end: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields pieces of both on the weight's device, in float32, or float64 where the weight is."""
    wide = torch.promote_types(weight.dtype, torch.float32)
    for here, there in zip(_rows(weight), _rows(end), strict=True):
        yield here.to(wide), there.to(weight.device, wide)


def _rows(weight: Tensor) -> tuple[Tensor, ...]:
    """Returns views of some rows each, so that widening them takes little memory."""
    weight = weight if weight.dim() else weight.view(1)
    return torch.split(weight, max(1, _PIECE * weight.shape[0] // max(1, weight.numel())))
