"""The forward pass where it is needed only: hidden states of the whole sequence, logits at scored positions."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TypeVar

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from core.lm import attention
from core.lm.data import Chunk, micro_batches, pack, packs, pad
from core.lm.flops import METER, ModelFlops, Spent, pairs, trained_share
from core.lm.head import logits, rows_at_once, slices
from core.lm.losses import token_entropy, token_nll, widen
from core.lm.ranks import ALONE, Ranks
from core.lm.residual import Reached, depth, layers_of, stopping_after
from core.lm.sharding import Sharded

T = TypeVar("T")

Head = Callable[[Tensor], Tensor]
"""Last hidden states (N, H) to logits (N, V), at least float32."""


class Forward:
    """A causal model in two parts, backbone and head, so that (B, T, V) logits never stand in memory.

    Records lie behind each other in one row, without padding and without attention across records, and the head gets
    the scored positions alone. Whether that gives what the model itself gives is tried on a few tokens, not guessed:
    models that cannot be packed are run padded (`packed` is False), and models that cap, scale or transform between
    backbone and head are run as a whole, their `hidden` being their logits (`head` is None).
    `autocast` is the dtype of products with weights; what is summed is in at least float32.
    `ranks` have the same model; once it is sharded, everything is done `within`, by all of them at a time.
    """

    def __init__(self, model: PreTrainedModel, *, autocast: torch.dtype | None = None, ranks: Ranks = ALONE) -> None:
        self.model = model
        self.autocast = autocast
        self.ranks = ranks
        self._sharded: Sharded | None = None
        self.head: nn.Linear | None = self._head()
        self.packed = self._packs()
        self._flops = ModelFlops.of(model)
        self._trained: float | None = None

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def vocabulary(self) -> int:
        """V, the width of the logits."""
        return self.head.out_features if self.head is not None else int(self.model.config.get_text_config().vocab_size)

    def shard(self) -> None:
        """Spreads the model over the ranks, where there are several; its parameters are others afterwards."""
        if self.ranks.count > 1:
            try:
                layers = list(layers_of(self.model)[2])
            except AttributeError:
                layers = []
            self._sharded = Sharded(self.model, layers, self.ranks)

    def within(self, work: Callable[[], T]) -> T:
        """Does what needs the model: one forward, by every rank, and what follows from it."""
        return work() if self._sharded is None else self._sharded.within(work)

    @torch.no_grad()
    def _head(self) -> nn.Linear | None:
        head = self.model.get_output_embeddings()
        if not isinstance(head, nn.Linear) or self.model.base_model is self.model:
            return None
        ids = self._few([4])[0]  # (1, 4)
        whole = self.model(input_ids=ids, use_cache=False).logits
        parts = head(self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state)
        return head if parts.shape == whole.shape and _close(parts, whole) else None

    @torch.no_grad()
    def _packs(self) -> bool:
        """Sets the model's attention, and says whether two records in one row are what each is by itself."""
        before = self.model.config._attn_implementation
        if before != attention.NAME:
            if before not in ("sdpa", "eager"):
                return False  # a kernel of somebody's choice
            self.model.set_attn_implementation(attention.NAME)
        apart = self._few([5, 3])
        try:
            together = self._backbone(torch.cat(apart, dim=1), (5, 3))
            alone = torch.cat([self._backbone(ids, None) for ids in apart], dim=1)
            packs = together.shape == alone.shape and _close(together, alone)
        except (TypeError, ValueError, RuntimeError):
            packs = False  # a model that attends in another way
        if not packs:
            self.model.set_attn_implementation(before if before != attention.NAME else "sdpa")
        return packs

    def _few(self, lengths: Sequence[int]) -> list[Tensor]:
        vocabulary = self.model.get_input_embeddings().num_embeddings
        ids = torch.arange(sum(lengths), device=self.device).remainder(vocabulary)[None]
        return list(torch.split(ids, list(lengths), dim=1))

    def precision(self) -> AbstractContextManager[object]:
        """The arithmetic of the backbone."""
        return torch.autocast(self.device.type, self.autocast) if self.autocast is not None else nullcontext()

    def batches(self, chunks: Sequence[Chunk], max_tokens: int) -> list[list[Chunk]]:
        """The chunks, each once, in batches for one forward of at most `max_tokens`, padding counted where there is
        any; a longer chunk by itself."""
        return (packs if self.packed else micro_batches)(chunks, max_tokens)

    def hidden(self, chunks: Sequence[Chunk]) -> Tensor:
        """What the head predicts the chunks' scored tokens from: (N, H), in order of chunk and position."""
        rows = widen(self._at_scored(chunks, self._backbone, before=1))
        self._count(chunks)
        return rows

    def states(self, chunks: Sequence[Chunk], layer: int) -> Tensor:
        """The residual stream after `layer` (from 0) at the positions that hold scored tokens: (N, d). Nothing above
        that layer is computed. Raises AttributeError for a model whose layers are not found."""
        caught: list[Tensor] = []

        def run(ids: Tensor, lengths: tuple[int, ...] | None) -> Tensor:
            with suppress(Reached):
                self._backbone(ids, lengths)
            return caught.pop()

        with stopping_after(self.model, layer, caught):
            rows = widen(self._at_scored(chunks, run, before=0))
        self._count(chunks, depth=(layer + 1) / depth(self.model), head=False)
        return rows

    def _count(self, chunks: Sequence[Chunk], *, depth: float = 1.0, head: bool = True) -> None:
        """Meters a pass; with its way back, where gradients are wanted of it."""
        lengths = [len(chunk.ids) for chunk in chunks]
        if torch.is_grad_enabled() and self._trained is None:
            self._trained = trained_share(self.model)
        of = (sum(lengths), pairs(lengths))
        if torch.is_grad_enabled() and self._trained:
            METER.count(Spent(of[0], self._flops.update(*of, trained=self._trained, depth=depth, head=head)))
        else:
            METER.count(Spent(of[0], self._flops.forward(*of, depth=depth, head=head)))

    def _at_scored(
        self, chunks: Sequence[Chunk], run: Callable[[Tensor, tuple[int, ...] | None], Tensor], *, before: int
    ) -> Tensor:
        """Rows of what `run` gives, (B, T, .), at (or one `before`) the scored positions."""
        if self.packed:
            ids, scored, lengths = pack(chunks)
        else:
            batch = pad(chunks, 0)
            # No attention mask: padding is on the right, so the causal mask hides it, and the kernels are quicker.
            ids, scored, lengths = batch.ids, batch.scored, None
        with self.precision():
            states = run(ids.to(self.device), lengths)
        # A record's first token is never scored, so that what is before a scored token is of the same record.
        places = scored.flatten().nonzero()[:, 0].to(self.device) - before
        return states.flatten(0, 1)[places]

    def _backbone(self, ids: Tensor, lengths: tuple[int, ...] | None) -> Tensor:
        """Last hidden states, or logits where there is no head: ids (B, T) -> (B, T, H or V)."""
        model = self.model.base_model if self.head is not None else self.model
        packed = {}
        if lengths is not None:
            places = torch.cat([torch.arange(length) for length in lengths])[None].to(self.device)
            # a mask of four dimensions is passed on as it is, so that none is made; the attention does not look at it
            mask = torch.empty(1, 1, 1, 1, device=self.device)
            packed = {"position_ids": places, "attention_mask": mask, "record_lengths": lengths}
        found = model(input_ids=ids, use_cache=False, **packed)
        states: Tensor = found.last_hidden_state if self.head is not None else found.logits
        return states

    def following(self, ids: Tensor, cache: Cache | None, present: Tensor | None = None) -> tuple[Tensor, Cache | None]:
        """The logits after ids (B, T), which follow what `cache` holds (None: nothing): (B, V), and the cache then,
        None where the model keeps none.

        `present` (B, all so far) bool is False where a row is filled up on its left; None: nowhere.
        """
        part = self.model.base_model if self.head is not None else self.model
        filled = {}
        if present is not None:
            places = (present.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            filled = {"attention_mask": present.long(), "position_ids": places}
        before = _held(cache)  # now: it grows
        with self.precision():
            found = part(input_ids=ids, past_key_values=cache, use_cache=True, **filled)
        states = found.last_hidden_state if self.head is not None else found.logits
        kept = getattr(found, "past_key_values", None)
        self._count_following(ids, before, present)
        return self.logits(widen(states[:, -1])), kept

    def _count_following(self, ids: Tensor, before: int, present: Tensor | None) -> None:
        rows, new = ids.shape
        if present is None:
            first, last = [before] * rows, [before + new] * rows
        else:
            last = present.sum(1).tolist()
            first = [whole - fresh for whole, fresh in zip(last, present[:, -new:].sum(1).tolist(), strict=True)]
        tokens = sum(last) - sum(first)
        METER.count(Spent(tokens, self._flops.forward(tokens, pairs(last) - pairs(first))))

    def targets(self, chunks: Sequence[Chunk]) -> Tensor:
        """The scored tokens: (N,), in the same order."""
        return torch.cat([chunk.ids[chunk.scored] for chunk in chunks]).to(self.device)

    def logits(self, hidden: Tensor) -> Tensor:
        """(N, H) -> (N, V), at least float32, with gradients for whatever requires them."""
        return hidden if self.head is None else logits(hidden, self.head.weight, self.head.bias, self.autocast)

    @torch.no_grad()
    def losses(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """-log p of each target: (N, H), (N,) -> (N,), without gradients."""
        cuts = slices(0, len(hidden), rows_at_once(self.vocabulary))
        return torch.cat([token_nll(self.logits(hidden[cut]), targets[cut]) for cut in cuts])

    @torch.no_grad()
    def losses_and_entropies(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """-log p of each target, and the entropy of what was predicted there: (N, H), (N,) -> (N, 2), without
        gradients."""
        found = []
        for cut in slices(0, len(hidden), rows_at_once(self.vocabulary)):
            logits = self.logits(hidden[cut])
            found.append(torch.stack([token_nll(logits, targets[cut]), token_entropy(logits)], dim=1))
        return torch.cat(found)

    def frozen_head(self) -> Head:
        """The head as it is now; later training does not change it."""
        if self.head is None:
            return lambda hidden: hidden
        weight, bias = (None if one is None else self._frozen(one) for one in (self.head.weight, self.head.bias))
        return lambda hidden: logits(hidden, weight, bias, self.autocast)

    def _frozen(self, weight: Tensor) -> Tensor:
        """The weight as it is now, in the dtype of the products; the weight itself where nothing will change it."""
        dtype = weight.dtype if self.autocast is None else self.autocast
        return weight.detach().to(dtype, copy=weight.requires_grad)


def _held(cache: Cache | None) -> int:
    """The places that a token of each row can look back at."""
    try:
        return 0 if cache is None else int(cache.get_seq_length())
    except ValueError:  # no layer of it attends
        return 0


def _close(found: Tensor, wanted: Tensor) -> bool:
    close = 1e-4 if found.dtype in (torch.float32, torch.float64) else 5e-2
    return torch.allclose(widen(found), widen(wanted), rtol=close, atol=close)
