"""LoRA adapters (PEFT) for the V4 transformer: which layers get one to be trained. Using one: `models/adapters.py`."""

from __future__ import annotations

from collections.abc import Sequence

from peft import LoraConfig
from torch import nn

from openreels.models.v4 import SkyReelsV4Transformer
from openreels.training.stages import part_of

__all__ = ["add_lora", "lora_config"]

PROJECTIONS = ("to_qkv", "to_qkv_mlp", "to_q", "to_kv", "to_out", "mlp.0", "mlp.2")


def lora_config(
    model: SkyReelsV4Transformer,
    rank: int = 16,
    alpha: float | None = None,
    branches: Sequence[str] = ("video", "audio", "cross"),
) -> LoraConfig:
    """Adapters on every attention and MLP projection of the layers of `branches`.

    branches: "video" (with its text cross-attention), "audio", "cross" (both audio-video cross-attentions).
    alpha: the adapter is scaled by alpha / rank; None: 1. Raises ValueError for a rank below 1 or unknown branches.
    """
    unknown = [name for name in branches if name not in ("video", "audio", "cross")]
    if unknown or not branches:
        raise ValueError(f"LoRA branches must be some of video, audio, cross, not {', '.join(unknown) or 'none'}")
    if rank < 1:
        raise ValueError(f"LoRA rank must be at least 1, not {rank}")
    targets = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and name.startswith("layers.")
        and part_of(name) in branches
        and name.endswith(tuple(f".{projection}" for projection in PROJECTIONS))
    ]
    return LoraConfig(r=rank, lora_alpha=alpha or rank, target_modules=targets)


def add_lora(model: SkyReelsV4Transformer, config: LoraConfig) -> None:
    """Everything but the new adapter is frozen."""
    model.requires_grad_(False)
    model.add_adapter(config)
