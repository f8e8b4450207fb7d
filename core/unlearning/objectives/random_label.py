"""Random labels: trains the forget set with random tokens in place of the true ones."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.unlearning.method import YAO_2024, Method, Paper

if TYPE_CHECKING:
    from torch import Tensor

    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Rows, Term


def uniform_labels(vocabulary: "Tensor", count: int, *, seed: int, epoch: int) -> "Tensor":
    """`count` tokens drawn uniformly from `vocabulary` (V',): (count,), the same for the same seed and epoch."""
    import torch

    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    drawn = torch.randint(len(vocabulary), (count,), generator=generator)
    return vocabulary[drawn.to(vocabulary.device)]


class RandomLabel(Method):
    name: ClassVar[str] = "random_label"
    summary: ClassVar[str] = (
        "Descends on the forget set with its tokens replaced by random ones, or by what an untrained model predicts."
    )
    formula: ClassVar[str] = (
        "mean_x (1/n) Σ_t -log p(r_t | x_<t), r_t drawn uniformly; or the cross-entropy to an untrained model's p"
    )
    paper: ClassVar[Paper] = YAO_2024

    reference: Literal["uniform", "random_model"] = Field(
        default="uniform",
        description="labels drawn uniformly from the vocabulary without special tokens, or soft labels from a"
        " randomly initialised model of the same architecture",
    )
    redraw: Literal["once", "every_epoch"] = Field(
        default="once", description="whether each epoch gets labels (or an untrained model) of its own"
    )

    def forget_term(self, context: "MethodContext") -> "Term":
        import functools

        from core.lm.losses import token_nll, token_soft_nll

        @functools.lru_cache(maxsize=1)
        def labels(draw: int) -> "Tensor":
            return uniform_labels(context.vocabulary, context.forget.row_count, seed=context.seed, epoch=draw)

        soft_labels = functools.lru_cache(maxsize=1)(context.random_reference)

        def term(rows: "Rows") -> "Tensor":
            draw = rows.epoch if self.redraw == "every_epoch" else 0
            if self.reference == "uniform":
                return token_nll(rows.logits, labels(draw)[rows.index])
            return token_soft_nll(soft_labels(draw).log_probabilities(rows.index), rows.logits)

        return term
