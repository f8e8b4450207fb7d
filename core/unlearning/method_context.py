"""The inputs of a method before training: the tokenized sets, and outputs of the reference model θ0 on them."""

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
    """The tokenized sets and the model in `forward`, which is the reference model until training begins.

    M is the number of a set's rows, its scored tokens.
    """

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
        """The calibrating half of the unseen set. Raises CoreError `empty_unseen_set`."""
        if self.unseen_set is None:
            raise CoreError("empty_unseen_set", "this method needs unseen records to calibrate by, and there are none")
        return self.unseen_set

    @cached_property
    def unseen_halves(self) -> tuple[TokenizedSet, TokenizedSet]:
        """(records for the unseen term, records for moving targets): alternate records in the order of their loss under
        the reference model, so that both halves are alike. A single record is in both."""
        unseen = self.unseen
        if len(unseen) < 2:
            return unseen, unseen
        means = per_record_mean(self.losses(unseen), unseen.record, len(unseen))
        order = means.argsort(stable=True).tolist()
        return unseen.subset(sorted(order[1::2])), unseen.subset(sorted(order[::2]))

    @property
    def vocabulary(self) -> Tensor:
        """The tokens that labels are drawn from: (V',), the tokenizer's without the special ones."""
        embeddings = self.forward.model.get_input_embeddings().num_embeddings
        special = set(self.tokenizer.all_special_ids)
        tokens = [token for token in range(min(embeddings, len(self.tokenizer))) if token not in special]
        return torch.tensor(tokens, device=self.forward.device)

    def reference(self, tokenized: TokenizedSet) -> ReferenceOutputs:
        """The reference model's distributions on a set, computed once."""
        if id(tokenized) not in self._references:
            self._references[id(tokenized)] = ReferenceOutputs(
                self.forward, tokenized.chunks, head=self._head, max_tokens=self.max_tokens
            )
        return self._references[id(tokenized)]

    def losses(self, tokenized: TokenizedSet) -> Tensor:
        """-log p of each scored token under the reference model: (M,)."""
        return losses(self.forward, tokenized.chunks, max_tokens=self.max_tokens)

    def losses_and_entropies(self, tokenized: TokenizedSet) -> Tensor:
        """-log p of each scored token, and the entropy of the prediction there, under the reference model: (M, 2)."""
        return losses_and_entropies(self.forward, tokenized.chunks, max_tokens=self.max_tokens)

    @torch.no_grad()
    def current_losses_and_entropies(self, tokenized: TokenizedSet, records: Sequence[int]) -> Tensor:
        """-log p and entropy of each scored token under the present weights, for these records in their order: (N, 2).

        Works for a sharded model: every rank runs all records, at the same time."""
        chunks = [tokenized.chunks[index] for record in records for index in tokenized.record_chunks[record]]
        order = {id(chunk): number for number, chunk in enumerate(chunks)}
        outputs = [torch.empty(0)] * len(chunks)
        for batch in self.forward.batches(chunks, self.max_tokens):
            batch_outputs = self.forward.run(partial(chunk_losses_and_entropies, self.forward, batch))
            counts = [int(chunk.scored.sum()) for chunk in batch]
            for chunk, chunk_outputs in zip(batch, torch.split(batch_outputs, counts), strict=True):
                outputs[order[id(chunk)]] = chunk_outputs
        return torch.cat(outputs)

    def runners_up(self, tokenized: TokenizedSet) -> Tensor:
        """The reference model's most probable wrong token at each scored position: (M,)."""
        return runner_up_tokens(self.forward, tokenized.chunks, max_tokens=self.max_tokens)

    def states(self, tokenized: TokenizedSet, layer: int) -> RowStore:
        """The reference model's residual stream after `layer` at the positions that hold scored tokens: (M, d)."""
        return rows_in_order(
            self.forward, tokenized.chunks, lambda batch: self.forward.states(batch, layer), self.max_tokens
        )

    @property
    def hidden_size(self) -> int:
        """d, the width of the residual stream."""
        return int(self.forward.model.config.get_text_config().hidden_size)

    @property
    def layers(self) -> int:
        """The number of layers."""
        return layer_count(self.forward.model)

    def random_reference(self, draw: int) -> ReferenceOutputs:
        """The distributions on the forget set of a randomly initialised model of the same architecture."""
        model = self.forward.model
        with torch.random.fork_rng():
            torch.manual_seed(self.seed * 1_000_003 + draw)
            untrained = AutoModelForCausalLM.from_config(copy.deepcopy(model.config), dtype=model.dtype)
        forward = Forward(untrained.to(self.forward.device).eval(), autocast=self.forward.autocast)
        return ReferenceOutputs(forward, self.forget.chunks, head=forward.frozen_head(), max_tokens=self.max_tokens)
