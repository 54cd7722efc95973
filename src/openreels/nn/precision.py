"""Which number format the matrix products of this machine are fastest in."""

from __future__ import annotations

from functools import cache

import torch

__all__ = ["autocast", "fastest_dtype"]


@cache
def fastest_dtype(device: str) -> torch.dtype:
    """bfloat16 where `device` ("cpu", "cuda", "mps") multiplies it in hardware, else float32.

    A CPU without such units (AVX-512 BF16, AMX, or Arm's BF16) emulates it three times slower than float32, while one
    that has them is twice as fast (docs/log.md); torch itself calls both "supported".
    """
    if device != "cpu":
        return torch.bfloat16
    capabilities = torch.cpu.get_capabilities()
    units = ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16")
    return torch.bfloat16 if any(capabilities.get(unit) for unit in units) else torch.float32


def autocast(device: torch.device | str) -> torch.autocast:
    """`torch.autocast` to the fastest format; does nothing where that is float32."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=fastest_dtype(kind) is torch.bfloat16)
