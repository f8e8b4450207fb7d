"""Which arithmetic is worth using where."""

import torch


def quick_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself; where it is emulated, it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def training_precision(precision: str, held: torch.dtype, device: torch.device) -> torch.dtype | None:
    """The autocast dtype of a backbone in training; None: float32 throughout.

    `auto` is bfloat16 wherever that is quick: half the time of a step, and the same losses to the second digit, since
    weights, head, losses and everything that is summed stay in float32. Weights that are held in half precision are
    multiplied in it whatever was asked for.
    """
    if held in (torch.bfloat16, torch.float16):
        return held
    half = quick_bfloat16(device) if precision == "auto" else precision == "bfloat16"
    return torch.bfloat16 if half else None
