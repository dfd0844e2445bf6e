"""Warm-up, then a cosine to nearly nothing."""

import math

_FINAL_FRACTION = 0.01


def warmup_cosine(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """The learning rate of an optimizer step as a fraction of the greatest."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return _FINAL_FRACTION + (1 - _FINAL_FRACTION) * 0.5 * (1 + math.cos(math.pi * progress))
