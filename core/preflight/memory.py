"""What stands in memory in each phase of a job: item by item, on the host and on each device.

With P the model's weights and T those that are trained: weights 4P (2P held in bfloat16), gradients and AdamW's two
moments of the trained ones (4T and 8T; 2T and 4T in bfloat16; the moments 2T in 8 bits), the activations of the largest
forward, the head's slices, and the original's last hidden states on the sets that are held. On the CPU all of it is
host memory. Several GPUs share what is P and T (fully sharded) once training begins; activations are each one's own.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from core.evaluation.measurements.gradnorm import GradNorm
from core.evaluation.measurements.relearned import Relearned
from core.lm.block_sizes import LOGITS_PER_SLICE, ONEDNN_PRIMITIVES
from core.preflight.activations import cache_bytes, kept_bytes, passing_bytes
from core.preflight.parameter_counts import largest_tensor, merged_parameters, trained_parameters
from core.preflight.workload import DTYPE_BYTES, Workload
from core.unlearning.method import Method
from core.unlearning.optimizer_sizes import EIGHT_BIT_BLOCK, WEIGHTS_PER_SLICE

MIB = 1 << 20
Place = Literal["host", "device"]

PROCESS = 640 * MIB
"""The child with torch and transformers (measured: 415 MiB), with scikit-learn, SciPy and rouge-score, which measuring
loads (150 MiB), and with what these hold from then on."""
MEASURERS = 64 * MIB
"""What measuring has on the host besides: twins, continuations and their samples, a classifier's n-grams."""
CUDA_PROCESS = 3 << 30
"""Host memory of the same process with CUDA's libraries and context: an upper guess. Whole jobs on a model of 4 million
weights took 1.7 to 2.5 GB of host memory on a machine with a GPU (docs/benchmarks.md, "On a GPU")."""
CUDA_WORKSPACE = 96 * MIB
"""cuBLAS and cuDNN workspaces that PyTorch's allocator counts."""
COMPILER = 600 * MIB
SLICES = 6
"""Slices' worth of float32 in use at once: logits, their gradient, log-probabilities, and the same of a reference."""
SLICES_MEASURED = 4
"""The same without gradients."""
HEAP = 1.05
"""What the C library's heap holds beyond what is asked of it, on the CPU."""
MANY = 5
"""Updates until that shows in full: each has another number of tokens, and leaves gaps that the next does not fill."""
GAPS = 1.0
"""Those gaps, as a share of the activations: what bounds the jobs of docs/benchmarks.md."""
MORE_GAPS = 0.25
"""By how much that share grows each time the updates are twice as many: a job of 180 comes from 1.0 to 1.5 GB."""
SCATTERED = 0.15
"""What of the heap that unlearning came to hold is held again by what comes after it, whose pieces lie between what
stays."""
UNRETURNED = 0.35
"""What the heap keeps of weights that were loaded, measured and cast (core.lm.memory), as a share of the weights: found
by measuring models of 20 to 140 million."""
KERNELS = ONEDNN_PRIMITIVES * 3 * MIB // 2
"""oneDNN's compiled products (core.lm.block_sizes), about 1.2 MiB each, with room."""
_GRADIENTS = {GradNorm.name, Relearned.name}
"""Measurements that have gradients of the weights."""


@dataclass(frozen=True)
class Item:
    what: str
    place: Place
    bytes: int


@dataclass(frozen=True)
class Phase:
    """What is in memory at one time."""

    name: str
    items: tuple[Item, ...]

    def total(self, place: Place) -> int:
        return sum(item.bytes for item in self.items if item.place == place)


class Memory:
    """The phases of one job."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._model, self._trained = work.shape.parameters, trained_parameters(work)
        self._cuda = work.gpus > 0
        self._here: Place = "device" if self._cuda else "host"
        self._ranks = max(1, work.gpus)
        self.phases = tuple(Phase(name, tuple(self._settled(items))) for name, items in self._all())

    def peak(self, place: Place) -> Phase:
        """The phase that takes most there."""
        return max(self.phases, key=lambda phase: phase.total(place))

    @property
    def snapshot_bytes(self) -> int:
        """What a job resumes from: the trained weights and the optimiser's states."""
        return self._held_by_trained * self._trained + self._moments()

    def _settled(self, items: Iterator[Item]) -> Iterator[Item]:
        yield self._process()
        slack = 1.0 if self._cuda else HEAP
        yield from (Item(one.what, one.place, math.ceil(one.bytes * slack)) for one in items if one.bytes > 0)

    def _all(self) -> Iterator[tuple[str, Iterator[Item]]]:
        yield "loading", self._loading()
        yield "measuring", self._measuring()
        if self._work.method is None:
            return
        yield "preparing", self._preparing()
        yield "unlearning", self._unlearning()
        yield "updating", self._updating()
        yield "saving", self._saving()
        yield "measuring again", self._measuring_again()

    # the phases

    def _loading(self) -> Iterator[Item]:
        yield Item("the model's files", "host", self._work.shape.bytes)
        yield self._weights()
        yield self._unshared()
        if self._cuda:
            yield Item("weights", "host", self._held * self._model)

    def _measuring(self) -> Iterator[Item]:
        work = self._work
        yield self._weights()
        yield self._unshared()
        yield Item("activations", self._here, work.measured * passing_bytes(work.shape))
        yield Item("logits of measuring", self._here, self._logits(work.measured, SLICES_MEASURED))
        yield from self._measurers()
        if work.method is None:  # elsewhere training takes more
            yield from self._changing()

    def _changing(self) -> Iterator[Item]:
        """What measurements take that have gradients: of all weights, and by fine-tuning moments and a copy, too."""
        names = {one.name for one in self._work.measurements}
        if names & _GRADIENTS:
            yield Item("gradients", self._here, self._held * self._model)
            kept = kept_bytes(self._work.shape, "float32", checkpointing=False)
            yield Item("activations kept", self._here, self._work.measured * kept)
        if Relearned.name in names:
            yield Item("the optimiser's states", self._here, 2 * self._held * self._model)

    def _preparing(self) -> Iterator[Item]:
        """The original says what it has to say, and writes the texts that are rehearsed."""
        work, shape = self._work, self._work.shape
        yield from self._kept()
        yield self._unshared()
        most = max((one.reference_tokens for one in work.drawn()), default=0)
        yield Item("hidden states being put in order", "host", most * self._state)
        if work.method is not None and work.method.rehearsal_spec() is not None:
            yield Item("keys and values", self._here, work.training.micro_batch_tokens * cache_bytes(shape))
        yield Item("activations", self._here, work.micro_batch * passing_bytes(shape))
        yield Item("logits", self._here, self._logits(work.micro_batch, SLICES))
        if getattr(work.method, "reference", None) == "random_model":
            yield Item("an untrained model", self._here, 4 * self._model)

    def _unlearning(self) -> Iterator[Item]:
        """A backward pass lets go of a layer's activations as it comes to its gradients, so that only gradients of an
        earlier micro-batch stand beside all activations; and no moments are there before the first update."""
        work, training, shape = self._work, self._work.training, self._work.shape
        yield from self._kept()
        gradients = self._share(self._held_by_trained * self._trained)
        kept = max(kept_bytes(shape, one, checkpointing=training.checkpointing) for one in self._precisions())
        activations = work.micro_batch * (kept + self._adapters_activations())
        yield self._experts()
        cast = "bfloat16" in self._precisions() and self._held == 4
        if cast:
            yield Item("weights in bfloat16", self._here, self._share(2 * self._trained))
        if work.update > training.micro_batch_tokens:
            yield Item("gradients", self._here, gradients)
            yield Item("activations", self._here, activations)
        else:
            yield Item("activations, then gradients", self._here, max(activations, gradients))
        if work.steps > 1:
            yield Item("the optimiser's states", self._here, self._share(self._moments()))
        if not self._cuda:
            share = min(1.0, (work.steps - 1) / (MANY - 1))
            gaps = share * GAPS + MORE_GAPS * math.log2(max(1.0, work.steps / MANY))
            yield Item("the heap's gaps", "host", math.ceil(gaps * activations))
            yield Item("kernels", "host", math.ceil(share * KERNELS))
        if not self._cuda:
            yield Item("freed memory that is kept", "host", math.ceil(UNRETURNED * self._held * self._model))
        head = shape.vocabulary * shape.hidden_size
        # its gradient, one slice's part of it, and its weights in bfloat16
        trained = head if self._trained == self._model else 0
        yield Item("the head", self._here, 2 * self._held * trained + (2 * head if cast else 0))
        yield Item("logits", self._here, self._logits(work.micro_batch, SLICES))
        if training.compile:
            yield Item("compiled code", "host", COMPILER)

    def _updating(self) -> Iterator[Item]:
        yield from self._kept()
        yield Item("gradients", self._here, self._share(self._held_by_trained * self._trained))
        yield Item("the optimiser's states", self._here, self._share(self._moments()))
        yield Item("the optimiser at work", self._here, self._at_work())

    def _measuring_again(self) -> Iterator[Item]:
        """What was freed until then has been given back (core.lm.memory), but for what lies between things that stay;
        the checkpoint's files are mapped."""
        yield from self._measuring()
        yield Item("the checkpoint's files", "host", self._work.stored_bytes)
        if not self._cuda:
            before = sum(one.bytes for one in self._unlearning() if one.place == "host")
            yield Item("the heap's gaps", "host", math.ceil(SCATTERED * before))

    def _measurers(self) -> Iterator[Item]:
        work = self._work
        yield Item("what measures", "host", MEASURERS)
        yield Item("keys and values", self._here, work.training.micro_batch_tokens * cache_bytes(work.shape))

    def _saving(self) -> Iterator[Item]:
        yield self._weights()
        yield self._adapters()
        yield self._copy()
        yield Item("the model's files", "host", self._work.stored_bytes)  # mapped, and read beside what is written

    # the items

    def _process(self) -> Item:
        return Item("the process", "host", CUDA_PROCESS * self._ranks if self._cuda else PROCESS)

    def _kept(self) -> Iterator[Item]:
        """From before the first update to the last."""
        work = self._work
        yield self._weights()
        yield self._adapters()
        yield self._gathered()
        yield self._copy()
        tokens = work.reference_tokens
        yield Item("the original's hidden states", "host", tokens * self._state)
        if tokens:
            yield Item("the original's head", self._here, 4 * work.shape.vocabulary * work.shape.hidden_size)
        if self._cuda:
            yield Item("workspaces", "device", CUDA_WORKSPACE)

    def _weights(self) -> Item:
        return Item("weights", self._here, self._share(self._held * self._model))

    def _unshared(self) -> Item:
        """What a rank holds beyond its share until training begins: it is measured, and asked, as a whole."""
        size = self._held * self._model
        return Item("the whole model", self._here, size - self._share(size))

    def _adapters(self) -> Item:
        size = 0 if self._work.training.lora is None else 4 * self._trained
        return Item("adapters", self._here, self._share(size))

    def _gathered(self) -> Item:
        """Of sharded weights, those outside of the layers, which are whole in a micro-batch, and two layers at work."""
        if self._ranks == 1:
            return Item("gathered weights", self._here, 0)
        shape = self._work.shape
        outside = min(self._model, shape.vocabulary * shape.hidden_size * (1 if shape.tied else 2))
        layers = self._model - outside
        at_work = math.ceil(layers * min(1.0, 2 / max(1, shape.layers)))
        return Item("gathered weights", self._here, self._held * (outside + at_work))

    def _copy(self) -> Item:
        """The trained weights as they were, of methods that turn them round in the end; others keep a sample."""
        method = self._work.method
        copied = (
            method is not None
            and type(method).final_weight is not Method.final_weight
            and self._work.training.lora is None
        )
        share = self._trained / self._model if copied else 0.0
        return Item("the weights as they were", "host", math.ceil(self._work.stored_bytes * share))

    def _adapters_activations(self) -> int:
        """Kept for one token by adapters, beyond what frozen norms then do not keep (4H each)."""
        lora, shape = self._work.training.lora, self._work.shape
        return 0 if lora is None else max(0, 4 * lora.rank * 7 - 8 * shape.hidden_size) * shape.layers

    def _experts(self) -> Item:
        """Fused experts with their adapters added: kept for the way back like activations, and a layer's gradient."""
        lora, shape = self._work.training.lora, self._work.shape
        merged = 0 if lora is None else merged_parameters(shape, lora)
        layer = math.ceil(merged / max(1, shape.layers))
        kept = layer if self._work.training.checkpointing else merged
        return Item("experts with adapters", self._here, self._held * (kept + (2 * layer if merged else 0)))

    def _moments(self) -> int:
        match self._work.training.optimizer:
            case "sgd":
                return 0
            case "adamw8bit":  # a byte each, and a float32 scale for every block
                return math.ceil(2 * (1 + 4 / EIGHT_BIT_BLOCK) * self._trained)
            case "adamw":
                return 2 * self._held_by_trained * self._trained

    def _at_work(self) -> int:
        """Beside its states, while it updates one matrix: widened weights, gradient, moments and what comes of them."""
        training = self._work.training
        if training.optimizer == "adamw" and self._held_by_trained == 4:
            return 0
        once = min(largest_tensor(self._work.shape), self._trained)
        return 12 * once if training.optimizer == "adamw8bit" else 28 * min(once, WEIGHTS_PER_SLICE)

    def _logits(self, tokens: int, times: int) -> int:
        return 4 * times * min(LOGITS_PER_SLICE, tokens * self._work.shape.vocabulary)

    def _share(self, size: int) -> int:
        return math.ceil(size / self._ranks)

    def _precisions(self) -> list[str]:
        """Which of them it may be: `auto` is bfloat16 on a GPU, on a processor whichever it multiplies quickly."""
        asked, quick = self._work.training.precision, self._work.bfloat16
        if asked != "auto":
            return [asked]
        if self._cuda or quick:
            return ["bfloat16"]
        return ["float32"] if quick is False else ["bfloat16", "float32"]

    @property
    def _held(self) -> int:
        """Bytes of a weight in memory."""
        return DTYPE_BYTES[self._work.training.master_weights]

    @property
    def _held_by_trained(self) -> int:
        """Bytes of a weight that is trained: an adapter's are always float32."""
        return 4 if self._work.training.lora is not None else self._held

    @property
    def _state(self) -> int:
        """Bytes of one last hidden state."""
        wide = "float32" in self._precisions()
        return self._work.shape.hidden_size * (4 if wide else 2)
