"""Adapters by name: their file on disk, and which weights of a model never get one. Without torch."""

ADAPTER_CONFIG = "adapter_config.json"
"""Beside the weights, in place of a model's own config.json (peft's name for it)."""

REFUSED = {
    architecture: ("out_proj", "conv1d")
    for architecture in (
        "FalconH1ForCausalLM",
        "FalconMambaForCausalLM",
        "Mamba2ForCausalLM",
        "MambaForCausalLM",
        "NemotronHForCausalLM",
    )
}
"""Modules that peft puts no adapter beside, by the last part of their names: kernels read their weights directly."""

_PASSED = {
    "FalconMambaForCausalLM": ("dt_proj",),
    "JambaForCausalLM": ("dt_proj",),
    "MambaForCausalLM": ("dt_proj",),
}
"""Linear layers whose weights a model of this architecture reads itself, past any adapter."""

_UNUSED = ("cross_attn", "crossattention", "encoder_attn", "indexer", "pooler")
"""Parts of names of what has no gradient: what looks at an encoder or selects without weighing."""


def is_router(module: str) -> bool:
    """Whether a module chooses between experts, by its name: `all-linear` leaves those as they are."""
    parts = module.split(".")
    return parts[-1] == "gate" or any("router" in part for part in parts)


def is_refused(architecture: str, module: str) -> bool:
    """Whether peft, which must read what is delivered, refuses an adapter beside this module."""
    return module.rpartition(".")[2] in REFUSED.get(architecture, ())


def has_no_effect(architecture: str, module: str) -> bool:
    """Whether an adapter beside this module is known to have none: such modules are left out of `all-linear`."""
    parts = module.split(".")
    return parts[-1] in _PASSED.get(architecture, ()) or any(part in _UNUSED for part in parts)
