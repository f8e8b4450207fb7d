"""What a method may look at before training begins: the sets, and the original model."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from core.lm.errors import CoreError
from core.lm.forward import Forward, Head
from core.lm.losses import per_record_mean
from core.lm.reference_outputs import ReferenceOutputs, losses, losses_and_entropies, rows_in_order, runner_up_tokens
from core.lm.residual_stream import layer_count
from core.lm.row_store import RowStore
from core.unlearning.objective import chunk_losses_and_entropies
from core.unlearning.tokenized_set import TokenizedSet


@dataclass
class MethodContext:
    """The original model (`forward`, not trained yet) and the tokenized sets."""

    forward: Forward
    tokenizer: PreTrainedTokenizerBase
    forget: TokenizedSet
    unseen_set: TokenizedSet | None
    seed: int
    max_tokens: int
    _references: dict[int, ReferenceOutputs] = field(default_factory=dict)

    @cached_property
    def _head(self) -> Head:
        return self.forward.frozen_head()

    @property
    def unseen(self) -> TokenizedSet:
        """The calibrating part of the unseen set. Raises CoreError `empty_unseen_set`."""
        if self.unseen_set is None:
            raise CoreError("empty_unseen_set", "this method needs unseen records to calibrate by, and there are none")
        return self.unseen_set

    @cached_property
    def unseen_parts(self) -> tuple[TokenizedSet, TokenizedSet]:
        """(what is held, what targets follow) of the unseen set: every other record by its loss under the original, so
        that both are alike. Of a single record both are the whole."""
        whole = self.unseen
        if len(whole) < 2:
            return whole, whole
        means = per_record_mean(self.losses(whole), whole.record, len(whole))
        order = means.argsort(stable=True).tolist()
        return whole.part(sorted(order[1::2])), whole.part(sorted(order[::2]))

    @property
    def vocabulary(self) -> Tensor:
        """The tokens a label may be drawn from: (V',), those of the tokenizer without the special ones."""
        rows = self.forward.model.get_input_embeddings().num_embeddings
        special = set(self.tokenizer.all_special_ids)
        tokens = [token for token in range(min(rows, len(self.tokenizer))) if token not in special]
        return torch.tensor(tokens, device=self.forward.device)

    def reference(self, corpus: TokenizedSet) -> ReferenceOutputs:
        """The original's outputs on a set, computed once."""
        if id(corpus) not in self._references:
            self._references[id(corpus)] = ReferenceOutputs(
                self.forward, corpus.chunks, head=self._head, max_tokens=self.max_tokens
            )
        return self._references[id(corpus)]

    def losses(self, corpus: TokenizedSet) -> Tensor:
        """Each scored token's -log p under the original: (M,)."""
        return losses(self.forward, corpus.chunks, max_tokens=self.max_tokens)

    def losses_and_entropies(self, corpus: TokenizedSet) -> Tensor:
        """The same, and the entropy of what the original predicts there: (M, 2)."""
        return losses_and_entropies(self.forward, corpus.chunks, max_tokens=self.max_tokens)

    @torch.no_grad()
    def present(self, corpus: TokenizedSet, records: Sequence[int]) -> Tensor:
        """The scored tokens' -log p and entropies of some records, one record after the other, under the weights as
        they are: (N, 2).

        Also of a sharded model: every rank goes through all of it, at the same time."""
        chunks = [corpus.chunks[place] for record in records for place in corpus.of_record[record]]
        order = {id(chunk): place for place, chunk in enumerate(chunks)}
        found = [torch.empty(0)] * len(chunks)
        for batch in self.forward.batches(chunks, self.max_tokens):
            both = self.forward.run(partial(chunk_losses_and_entropies, self.forward, batch))
            counts = [int(chunk.scored.sum()) for chunk in batch]
            for chunk, part in zip(batch, torch.split(both, counts), strict=True):
                found[order[id(chunk)]] = part
        return torch.cat(found)

    def runners_up(self, corpus: TokenizedSet) -> Tensor:
        """The original's best wrong token at each scored position: (M,)."""
        return runner_up_tokens(self.forward, corpus.chunks, max_tokens=self.max_tokens)

    def states(self, corpus: TokenizedSet, layer: int) -> RowStore:
        """The original's residual stream after `layer` at the positions that hold scored tokens: (M, d)."""
        return rows_in_order(
            self.forward, corpus.chunks, lambda batch: self.forward.states(batch, layer), self.max_tokens
        )

    @property
    def hidden_size(self) -> int:
        """d, the width of the residual stream."""
        return int(self.forward.model.config.get_text_config().hidden_size)

    @property
    def layers(self) -> int:
        return layer_count(self.forward.model)

    def random_reference(self, draw: int) -> ReferenceOutputs:
        """The outputs on the forget set of a randomly initialised model of the same architecture."""
        model = self.forward.model
        with torch.random.fork_rng():
            torch.manual_seed(self.seed * 1_000_003 + draw)
            untrained = AutoModelForCausalLM.from_config(copy.deepcopy(model.config), dtype=model.dtype)
        forward = Forward(untrained.to(self.forward.device).eval(), autocast=self.forward.autocast)
        return ReferenceOutputs(forward, self.forget.chunks, head=forward.frozen_head(), max_tokens=self.max_tokens)
