"""Representation misdirection: turns the forget set's hidden states in one layer to a random direction."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.lm.errors import CoreError
from core.unlearning.method import TOFU, Method, Paper, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Term

_DOWN_PROJECTIONS = (
    "*layers.{}.*down_proj*",  # Llama, Qwen, Mistral, Gemma, Phi-3, experts too
    "*layers.{}.mlp.c_proj*",  # StarCoder
    "*layers.{}.mlp.dense_4h_to_h*",  # GPT-NeoX
    "*layers.{}.*fc2*",  # Phi, OPT, BART's decoder
    "*layers.{}.*mlp.output_linear*",  # Granite, JetMoe
    "*layers.{}.mlp.Wo*",  # ModernBERT's decoder
    "*layers.{}.feed_forward.w2*",  # LFM2
    "*layers.{}.ffn.ffn.w_out*",  # CPM-Ant
    "*layers.{}.feed_forward.output*",  # ProphetNet's decoder
    "*layers.{}.*experts.*w2*",  # Mixtral and LFM2 as their files have it
    "*layers.{}.block_sparse_moe.output_linear*",  # Granite's experts as their files have it
    "*layer.{}.output.dense*",  # BERT as a decoder
    "*layer.{}.ff.layer_2*",  # XLNet
    "*h.{}.mlp.c_proj*",  # GPT-2, GPT-Neo
    "*h.{}.mlp.dense_4h_to_h*",  # Falcon, Bloom
    "*h.{}.mlp.fc_out*",  # GPT-J, CodeGen
    "*h.{}.ffn.2.*",  # CTRL
    "*blocks.{}.ffn.down_proj*",  # MPT
    "*blocks.{}.ffn.proj_down*",  # xLSTM
    "*blocks.{}.ffn.experts.mlp.w2*",  # DBRX
    "*blocks.{}.feed_forward.value*",  # RWKV
)
"""Weight names, by model family, of the projections from an MLP back into the residual stream; {} is the layer."""


def steering_vector(size: int, coefficient: float, seed: int) -> "Tensor":
    """c û, û uniform in [0, 1)^size divided by its norm: (size,) float64, the same for the same seed."""
    import torch

    direction = torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    vector: Tensor = coefficient * direction / direction.norm()
    return vector


def misdirection(states: "Tensor", target: "Tensor") -> "Tensor":
    """‖h_t - c û‖² / d of each position: states (N, d), target (d,) -> (N,), in at least float32."""
    from core.lm.losses import at_least_float32

    states = at_least_float32(states)
    return (states - target.to(states)).square().mean(-1)


class RMU(Method):
    name: ClassVar[str] = "rmu"
    summary: ClassVar[str] = (
        "Turns the hidden states of the forget set in one layer to a random direction and keeps those of the retain"
        " set, by training a few MLP down-projections."
    )
    formula: ClassVar[str] = (
        "mean_x (1/n) Σ_t ‖h_L,t(x) - c û‖² / d, h_L the residual stream after layer L where scored tokens stand;"
        " retain term `hidden`: mean_z (1/n) Σ_t ‖h_L,t(z) - h0_L,t(z)‖² / d"
    )
    paper: ClassVar[Paper] = Paper(
        title="The WMDP Benchmark: Measuring and Reducing Malicious Use With Unlearning",
        url="https://arxiv.org/abs/2403.03218",
    )
    large: ClassVar[Recipe] = TOFU.model_copy(update={"learning_rate": 5e-5})

    # `hidden` needs a layer: methods at the logits do not offer it
    retain_term: Literal["hidden", "none", "descent", "kl"] = Field(  # type: ignore[assignment]
        default="hidden", description="the term on the retain set; `hidden`: keep the hidden states of the layer"
    )
    retain_weight: float = Field(default=1200.0, ge=0, le=1e6, description="the factor on the retain term")
    at_layer: int | None = Field(
        default=None, ge=0, le=1000, description="L, from 0; default: 7, or a third of the depth where that is less"
    )
    coefficient: float = Field(
        default=6.5, gt=0, le=1e6, description="c, the length of the vector; 6.5 to 20 served models of 7B"
    )

    def layer(self, layers: int) -> int:
        """Raises CoreError `no_such_layer`."""
        if self.at_layer is None:
            return min(7, layers // 3)
        if self.at_layer >= layers:
            raise CoreError(
                "no_such_layer", f"at_layer is {self.at_layer}, but the model's layers are 0 to {layers - 1}"
            )
        return self.at_layer

    def trained_weights(self, layers: int) -> list[str]:
        last = self.layer(layers)
        return [name.format(at) for at in range(max(0, last - 2), last + 1) for name in _DOWN_PROJECTIONS]

    def forget_term(self, context: "MethodContext") -> "Term":
        target = steering_vector(context.hidden_size, self.coefficient, context.seed)
        return lambda rows: misdirection(rows.states, target)
