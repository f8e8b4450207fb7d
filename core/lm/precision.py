"""The arithmetic of a device: whether bfloat16 pays."""

import torch


def quick_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; emulated, it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def training_precision(precision: str, held: torch.dtype, device: torch.device) -> torch.dtype | None:
    """Returns the autocast dtype of a backbone in training; None: float32 throughout.

    `auto` is bfloat16 wherever that is quick: half the time of a step, and the same losses to the second digit, since
    weights, head, losses and sums stay in float32. Weights that are `held` in half precision are multiplied in it
    whatever `precision` is.
    """
    if held in (torch.bfloat16, torch.float16):
        return held
    half = quick_bfloat16(device) if precision == "auto" else precision == "bfloat16"
    return torch.bfloat16 if half else None
