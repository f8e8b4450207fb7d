"""Memory of a job in each of its phases, item by item, on the host and on each device.

With P weights of the model and T trained ones: weights 4P (2P if held in bfloat16), gradients and AdamW's two moments
of the trained weights (4T and 8T; 2T and 4T in bfloat16; the moments 2T in 8 bits), the activations of the largest
forward, the head's slices, and the reference model's last hidden states on the sets that need them. On the CPU all of
it is host memory. Once training begins, several GPUs share P and T (fully sharded); each GPU has its own activations.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from core.evaluation.measurements.gradnorm import GradNorm
from core.evaluation.measurements.relearned import Relearned
from core.lm.block_sizes import LOGITS_PER_SLICE, ONEDNN_PRIMITIVES
from core.preflight.activations import cache_bytes, forward_bytes, kept_bytes
from core.preflight.parameter_counts import largest_tensor, merged_parameters
from core.preflight.workload import DTYPE_BYTES, PhaseName, Workload
from core.unlearning.optimizer_sizes import EIGHT_BIT_BLOCK, WEIGHTS_PER_SLICE

MIB = 1 << 20
Place = Literal["host", "device"]

PROCESS = 640 * MIB
"""The child process with torch and transformers (measured: 415 MiB), with scikit-learn, SciPy and rouge-score, which
measurements load (150 MiB), and with what these libraries keep from then on."""
MEASUREMENT_DATA = 64 * MIB
"""Other host memory of measurements: twins, continuations and their samples, a classifier's n-grams."""
CUDA_PROCESS = 3 << 30
"""Host memory of the same process with CUDA's libraries and context: an upper guess. Whole jobs on a model of 4 million
weights took 1.7 to 2.5 GB of host memory on a machine with a GPU (docs/benchmarks.md, "On a GPU")."""
CUDA_WORKSPACE = 96 * MIB
"""cuBLAS and cuDNN workspaces that PyTorch's allocator counts."""
COMPILER = 600 * MIB
SLICES = 6
"""Slices in float32 in use at once: logits, their gradient, log-probabilities, and the same of a reference model."""
SLICES_WITHOUT_GRADIENT = 4
HEAP = 1.05
"""Heap memory that the C library holds on the CPU, relative to the memory that was asked for."""
MANY_UPDATES = 5
"""Updates until the heap's gaps have grown in full. Each update has another number of tokens, and leaves gaps that the
next one does not fill."""
GAPS = 1.0
"""These gaps as a share of the activations: an upper bound for the jobs of docs/benchmarks.md."""
MORE_GAPS = 0.25
"""Growth of that share with each doubling of the updates: a job of 180 updates grows from 1.0 to 1.5 GB."""
MOST_GAPS = 512 * MIB
"""The most memory in these gaps. They lie between blocks of a few hundred kilobytes: a job of 180 updates on 4 million
weights had about 300 MB of them, updates on 135 million weights, whose blocks are larger, none."""
FRAGMENTED = 0.15
"""Share of the heap of unlearning that later phases cannot use: fragmentation keeps it."""
UNRETURNED = 0.35
"""Heap memory that stays after weights were loaded, measured and cast (core.lm.memory), as a share of the weights. It
was measured on models of 20 to 140 million weights."""
KERNELS = ONEDNN_PRIMITIVES * 3 * MIB // 2
"""oneDNN's compiled products (core.lm.block_sizes), about 1.2 MiB each, with room."""


@dataclass(frozen=True)
class Item:
    """Something in memory."""

    name: str
    place: Place
    bytes: int


@dataclass(frozen=True)
class Phase:
    """All that is in memory at one time."""

    name: str
    items: tuple[Item, ...]

    def total(self, place: Place) -> int:
        """Returns the bytes on a place."""
        return sum(item.bytes for item in self.items if item.place == place)


class Memory:
    """The memory of one job, phase by phase."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._model, self._trained = workload.shape.parameters, workload.trained_parameters
        self._cuda = workload.gpus > 0
        self._place: Place = "device" if self._cuda else "host"
        self._ranks = max(1, workload.gpus)
        self.phases = tuple(Phase(name, tuple(self._with_process(self._items(name)))) for name in workload.phases)

    def peak(self, place: Place) -> Phase:
        """Returns the phase that takes most memory on a place."""
        return max(self.phases, key=lambda phase: phase.total(place))

    @property
    def snapshot_bytes(self) -> int:
        """Bytes of a snapshot: the trained weights, the optimiser's states, the best state of a tuned training, a
        simulated attacker's weights, and the retain gradient's mean."""
        trained = self._trained_weight_bytes * self._trained
        optional = self._best_state() + self._attacked_weights().bytes + self._retain_gradient().bytes
        return trained + self._moments() + optional

    def _with_process(self, items: Iterator[Item]) -> Iterator[Item]:
        """Adds the process and the heap's overhead, and leaves out empty items."""
        yield self._process()
        overhead = 1.0 if self._cuda else HEAP
        yield from (Item(item.name, item.place, math.ceil(item.bytes * overhead)) for item in items if item.bytes > 0)

    def _items(self, phase: PhaseName) -> Iterator[Item]:
        match phase:
            case "loading":
                return self._loading()
            case "measuring":
                return self._measuring()
            case "preparing":
                return self._preparing()
            case "unlearning":
                return self._unlearning()
            case "updating":
                return self._updating()
            case "saving":
                return self._saving()
            case "measuring again":
                return self._measuring_again()

    # the phases

    def _loading(self) -> Iterator[Item]:
        yield Item("the model's files", "host", self._workload.shape.bytes)
        yield self._weights()
        yield self._unsharded_weights()
        if self._cuda:
            yield Item("weights", "host", self._weight_bytes * self._model)

    def _measuring(self) -> Iterator[Item]:
        workload = self._workload
        tokens = workload.measuring_batch_tokens
        yield self._weights()
        yield self._unsharded_weights()
        yield Item("activations", self._place, tokens * forward_bytes(workload.shape))
        yield Item("logits of measuring", self._place, self._logits(tokens, SLICES_WITHOUT_GRADIENT))
        yield Item("data of measurements", "host", MEASUREMENT_DATA)
        yield self._generation_cache()
        yield from self._gradients_of_measurements()

    def _gradients_of_measurements(self) -> Iterator[Item]:
        """Memory of measurements with gradients: those of the weights, and the moments where all weights are tuned."""
        measurements = self._workload.gradient_measurements
        relearned = [measurement for measurement in measurements if isinstance(measurement, Relearned)]
        tunes_all = any(measurement.trains_all_weights(self._model) for measurement in relearned)
        gradnorm = any(isinstance(measurement, GradNorm) for measurement in measurements)
        if tunes_all or gradnorm:
            yield Item("gradients", self._place, self._weight_bytes * self._model)
        if relearned or gradnorm:
            kept = kept_bytes(self._workload.shape, "float32", checkpointing=False)
            yield Item("activations kept", self._place, self._workload.measuring_batch_tokens * kept)
        if tunes_all:
            yield Item("the optimiser's states", self._place, 2 * self._weight_bytes * self._model)

    def _preparing(self) -> Iterator[Item]:
        """The reference model computes its outputs, and writes the texts that are rehearsed."""
        workload = self._workload
        tokens = workload.training_batch_tokens
        yield from self._training_state()
        yield self._unsharded_weights()
        most = max((draw.reference_tokens for draw in workload.draws()), default=0)
        yield Item("hidden states being put in order", "host", most * self._hidden_state_bytes)
        if any(draw.name == "rehearsal" for draw in workload.draws()):
            yield self._generation_cache()
        yield Item("activations", self._place, tokens * forward_bytes(workload.shape))
        yield Item("logits", self._place, self._logits(tokens, SLICES))
        if workload.needs_untrained_model:
            yield Item("an untrained model", self._place, 4 * self._model)

    def _unlearning(self) -> Iterator[Item]:
        """Forward and backward passes.

        A backward pass frees a layer's activations when it reaches the layer's gradients, so only gradients of an
        earlier micro-batch are in memory beside all activations. Before the first update there are no moments.
        """
        workload, training, shape = self._workload, self._workload.training, self._workload.shape
        yield from self._training_state()
        gradients = self._share(self._trained_weight_bytes * self._trained)
        kept = max(kept_bytes(shape, dtype, checkpointing=training.checkpointing) for dtype in self._precisions())
        activations = workload.training_batch_tokens * (kept + self._adapter_activations())
        yield self._experts()
        cast = "bfloat16" in self._precisions() and self._weight_bytes == 4
        if cast:
            yield Item("weights in bfloat16", self._place, self._share(2 * self._trained))
        if workload.update_tokens > training.micro_batch_tokens:
            yield Item("gradients", self._place, gradients)
            yield Item("activations", self._place, activations)
        else:
            yield Item("activations, then gradients", self._place, max(activations, gradients))
        yield from self._changed_forget_gradient()
        if workload.steps > 1:
            yield Item("the optimiser's states", self._place, self._share(self._moments()))
        if not self._cuda:
            share = min(1.0, (workload.steps - 1) / (MANY_UPDATES - 1))
            gaps = share * GAPS + MORE_GAPS * math.log2(max(1.0, workload.steps / MANY_UPDATES))
            yield Item("the heap's gaps", "host", min(MOST_GAPS, math.ceil(gaps * activations)))
            yield Item("kernels", "host", math.ceil(share * KERNELS))
        if not self._cuda:
            yield Item("freed memory that is kept", "host", math.ceil(UNRETURNED * self._weight_bytes * self._model))
        head = shape.vocabulary * shape.hidden_size
        # its gradient, one slice's part of the gradient, and its weights in bfloat16
        trained = head if self._trained == self._model else 0
        yield Item("the head", self._place, 2 * self._weight_bytes * trained + (2 * head if cast else 0))
        slices = SLICES + workload.extra_slices
        yield Item("logits", self._place, self._logits(workload.training_batch_tokens, slices))
        if training.compile:
            yield Item("compiled code", "host", COMPILER)

    def _updating(self) -> Iterator[Item]:
        yield from self._training_state()
        yield self._attacked_weights()
        yield self._retain_gradient()
        yield Item("gradients", self._place, self._share(self._trained_weight_bytes * self._trained))
        yield Item("the optimiser's states", self._place, self._share(self._moments()))
        yield Item("the optimiser at work", self._place, self._optimizer_buffers())

    def _measuring_again(self) -> Iterator[Item]:
        """Measuring with the checkpoint's files mapped. Freed memory was returned, except for fragments of the heap."""
        yield from self._measuring()
        yield Item("the checkpoint's files", "host", self._workload.stored_bytes)
        if not self._cuda:
            unlearning = sum(item.bytes for item in self._unlearning() if item.place == "host")
            yield Item("the heap's gaps", "host", math.ceil(FRAGMENTED * unlearning))

    def _saving(self) -> Iterator[Item]:
        yield self._weights()
        yield self._adapters()
        yield self._weights_before()
        yield Item("the model's files", "host", self._workload.stored_bytes)  # mapped, and read while it is written

    # the items

    def _process(self) -> Item:
        return Item("the process", "host", CUDA_PROCESS * self._ranks if self._cuda else PROCESS)

    def _training_state(self) -> Iterator[Item]:
        """Items that stay in memory from before the first update to after the last."""
        workload = self._workload
        yield self._weights()
        yield self._adapters()
        yield self._gathered_weights()
        yield Item("the best state", "host", self._best_state())
        yield self._weights_before()
        tokens = workload.reference_tokens
        yield Item("the original's hidden states", "host", tokens * self._hidden_state_bytes)
        if tokens:
            yield Item("the original's head", self._place, 4 * workload.shape.vocabulary * workload.shape.hidden_size)
        if self._cuda:
            yield Item("workspaces", "device", CUDA_WORKSPACE)

    def _weights(self) -> Item:
        return Item("weights", self._place, self._share(self._weight_bytes * self._model))

    def _unsharded_weights(self) -> Item:
        """Weights beyond a rank's share. Until training begins each rank holds the whole model, which is measured."""
        size = self._weight_bytes * self._model
        return Item("the whole model", self._place, size - self._share(size))

    def _adapters(self) -> Item:
        size = 0 if self._workload.training.lora is None else 4 * self._trained
        return Item("adapters", self._place, self._share(size))

    def _gathered_weights(self) -> Item:
        """Sharded weights that a micro-batch gathers: all weights outside of the layers, and two layers at work."""
        if self._ranks == 1:
            return Item("gathered weights", self._place, 0)
        shape = self._workload.shape
        outside = min(self._model, shape.vocabulary * shape.hidden_size * (1 if shape.tied else 2))
        layers = self._model - outside
        two_layers = math.ceil(layers * min(1.0, 2 / max(1, shape.layers)))
        return Item("gathered weights", self._place, self._weight_bytes * (outside + two_layers))

    def _weights_before(self) -> Item:
        """A copy of the trained weights before training, for methods with a final weight; others keep a sample."""
        share = self._trained / self._model if self._workload.copies_trained_weights else 0.0
        return Item("the weights as they were", "host", math.ceil(self._workload.stored_bytes * share))

    def _best_state(self) -> int:
        """Bytes of the copy that a tuned training keeps of the trained weights, in all ranks together."""
        return self._trained_weight_bytes * self._trained if self._workload.training.tune == "auto" else 0

    def _adapter_activations(self) -> int:
        """Bytes kept for one token by adapters, beyond those that frozen norms then do not keep (4H each)."""
        lora, shape = self._workload.training.lora, self._workload.shape
        return 0 if lora is None else max(0, 4 * lora.rank * 7 - 8 * shape.hidden_size) * shape.layers

    def _experts(self) -> Item:
        """Fused experts with their adapters added, which are kept for the backward pass, and a layer's gradient."""
        lora, shape = self._workload.training.lora, self._workload.shape
        merged = 0 if lora is None else merged_parameters(shape, lora)
        layer = math.ceil(merged / max(1, shape.layers))
        kept = layer if self._workload.training.checkpointing else merged
        return Item("experts with adapters", self._place, self._weight_bytes * (kept + (2 * layer if merged else 0)))

    def _generation_cache(self) -> Item:
        """Keys and values of texts that are being written."""
        workload = self._workload
        size = workload.training.micro_batch_tokens * cache_bytes(workload.shape)
        return Item("keys and values", self._place, size)

    def _attacked_weights(self) -> Item:
        """The way from the trained weights to those of a simulated attacker."""
        attacked = self._workload.training.relearning_defence in ("attacker", "both")
        size = self._trained_weight_bytes * self._trained if attacked else 0
        return Item("the attacker's weights", self._place, self._share(size))

    def _retain_gradient(self) -> Item:
        """The mean of the retain terms' gradient, in float32."""
        size = 4 * self._trained if self._workload.training.conflicting_gradients == "project" else 0
        return Item("the retain gradient's mean", self._place, self._share(size))

    def _changed_forget_gradient(self) -> Iterator[Item]:
        """Memory of a changed forget gradient, which is set aside, beside what changes it."""
        training = self._workload.training
        yield self._attacked_weights()
        yield self._retain_gradient()
        if training.relearning_defence != "none" or training.conflicting_gradients == "project":
            size = self._share(self._trained_weight_bytes * self._trained)
            yield Item("gradients set aside", self._place, size)

    def _moments(self) -> int:
        """Bytes of the optimiser's moments."""
        match self._workload.training.optimizer:
            case "sgd":
                return 0
            case "adamw8bit":  # a byte each, and a float32 scale for every block
                return math.ceil(2 * (1 + 4 / EIGHT_BIT_BLOCK) * self._trained)
            case "adamw":
                return 2 * self._trained_weight_bytes * self._trained

    def _optimizer_buffers(self) -> int:
        """Bytes of an optimiser that updates one matrix, beside its states: weights, gradient, moments in float32."""
        training = self._workload.training
        if training.optimizer == "adamw" and self._trained_weight_bytes == 4:
            return 0
        weights = min(largest_tensor(self._workload.shape), self._trained)
        return 12 * weights if training.optimizer == "adamw8bit" else 28 * min(weights, WEIGHTS_PER_SLICE)

    def _logits(self, tokens: int, slices: int) -> int:
        return 4 * slices * min(LOGITS_PER_SLICE, tokens * self._workload.shape.vocabulary)

    def _share(self, size: int) -> int:
        """Returns one rank's share."""
        return math.ceil(size / self._ranks)

    def _precisions(self) -> list[str]:
        """Returns the possible precisions. `auto` is bfloat16 on a GPU, or on a processor that multiplies it
        directly."""
        precision, fast_bfloat16 = self._workload.training.precision, self._workload.bfloat16
        if precision != "auto":
            return [precision]
        if self._cuda or fast_bfloat16:
            return ["bfloat16"]
        return ["float32"] if fast_bfloat16 is False else ["bfloat16", "float32"]

    @property
    def _weight_bytes(self) -> int:
        """Bytes of a weight in memory."""
        return DTYPE_BYTES[self._workload.training.master_weights]

    @property
    def _trained_weight_bytes(self) -> int:
        """Bytes of a trained weight in memory. Adapters are always in float32."""
        return 4 if self._workload.training.lora is not None else self._weight_bytes

    @property
    def _hidden_state_bytes(self) -> int:
        """Bytes of one last hidden state."""
        wide = "float32" in self._precisions()
        return self._workload.shape.hidden_size * (4 if wide else 2)
