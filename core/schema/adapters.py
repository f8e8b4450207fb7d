"""Adapters: the name of their config file, and the modules of a model that never get one. Without torch."""

ADAPTER_CONFIG = "adapter_config.json"
"""peft's name for the config beside an adapter's weights, where a model has config.json."""

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
"""Modules that peft adds no adapter to, by the last part of their names: kernels read their weights directly."""

_BYPASSED = {
    "FalconMambaForCausalLM": ("dt_proj",),
    "JambaForCausalLM": ("dt_proj",),
    "MambaForCausalLM": ("dt_proj",),
}
"""Linear layers whose weights the architecture reads directly, so that an adapter has no effect."""

_UNUSED = ("cross_attn", "crossattention", "encoder_attn", "indexer", "pooler")
"""Parts of the names of modules without a gradient: they attend to an encoder, or select without weighing."""


def is_router(module: str) -> bool:
    """Whether a module chooses between experts, by its name. `all-linear` leaves such modules out."""
    parts = module.split(".")
    return parts[-1] == "gate" or any("router" in part for part in parts)


def is_refused(architecture: str, module: str) -> bool:
    """Whether peft, which must read delivered adapters, refuses one for this module."""
    return module.rpartition(".")[2] in REFUSED.get(architecture, ())


def has_no_effect(architecture: str, module: str) -> bool:
    """Whether an adapter of this module is known to have no effect. `all-linear` leaves such modules out."""
    parts = module.split(".")
    return parts[-1] in _BYPASSED.get(architecture, ()) or any(part in _UNUSED for part in parts)
