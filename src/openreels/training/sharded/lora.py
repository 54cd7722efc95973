"""LoRA adapters (PEFT) for the V4 transformer: which layers get one; training, files, merging.

Training and files are the library's: `add_adapter`, `save_lora_adapter`, `load_lora_adapter` of diffusers' mixin.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE
from peft import LoraConfig
from safetensors import safe_open
from torch import nn

from openreels.models.v4 import SkyReelsV4Transformer
from openreels.training.stages import part_of

__all__ = ["add_lora", "load_lora", "lora_config", "merge_lora"]

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


def load_lora(model: SkyReelsV4Transformer, folder: Path) -> None:
    """Raises ValueError where the folder holds no adapter, or not all of one fits this model: never half of it."""
    path = folder / LORA_WEIGHT_NAME_SAFE
    if not path.is_file():
        raise ValueError(f"no LoRA adapter in {folder}: {LORA_WEIGHT_NAME_SAFE} is missing")
    with safe_open(path, "pt") as file:
        saved = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a mapping
    layers = dict(model.named_modules())
    for name, shape in saved.items():
        target, _, side = name.removesuffix(".weight").rpartition(".")
        layer = layers.get(target)
        fits = isinstance(layer, nn.Linear) and (
            shape[1] == layer.in_features if side == "lora_A" else shape[0] == layer.out_features
        )
        if not fits:
            raise ValueError(f"the LoRA adapter in {folder} is of another model: {name} {shape} fits no layer here")
    model.load_lora_adapter(folder, prefix=None, weight_name=LORA_WEIGHT_NAME_SAFE)


def merge_lora(model: SkyReelsV4Transformer) -> None:
    """Add the loaded adapter to the weights it adapts and forget it."""
    model.fuse_lora()
    model.unload_lora()
