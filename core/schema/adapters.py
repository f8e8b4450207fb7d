"""Adapters alone, as they lie on disk."""

CONFIG = "adapter_config.json"
"""Beside the weights, in place of a model's own config.json (peft's name for it)."""
