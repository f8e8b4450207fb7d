"""A job's cost in one line."""

from core.schema.cost import JobCost


def cost_line(cost: JobCost) -> str:
    """Returns seconds, tokens per second, peak memory and model FLOPs, as far as they are known."""
    speeds = cost.tokens_per_second
    parts = [f"{sum(cost.seconds.values()):,.1f} s"]
    parts += [f"{name} {speeds[name]:,.0f} tokens/s" for name in ("unlearning", "measuring") if name in speeds]
    parts.append(f"peak {cost.peak_host_bytes / 1e9:.2f} GB")
    if cost.peak_device_bytes is not None:
        parts[-1] += f" and {cost.peak_device_bytes / 1e9:.2f} GB on the device"
    if cost.flops:
        share = "share of a retraining unknown"
        if cost.retraining_share is not None:
            share = f"{100 * cost.retraining_share:.2g} % of a retraining"
        parts.append(f"{sum(cost.flops.values()):.3g} model FLOPs ({share})")
    return "cost: " + ", ".join(parts)
