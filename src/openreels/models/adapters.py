"""LoRA adapters (PEFT) on a V4 transformer: what fits, loading, merging. Files and arithmetic are the library's."""

from __future__ import annotations

from pathlib import Path

from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE
from safetensors import safe_open
from torch import nn

from openreels.models.v4 import SkyReelsV4Transformer

__all__ = ["ADAPTER_FILE", "load_lora", "merge_lora"]

ADAPTER_FILE = LORA_WEIGHT_NAME_SAFE


def load_lora(model: SkyReelsV4Transformer, folder: Path) -> None:
    """Raises ValueError where the folder holds no adapter, or not all of one fits this model: never half of it."""
    path = folder / ADAPTER_FILE
    if not path.is_file():
        raise ValueError(f"no LoRA adapter in {folder}: {ADAPTER_FILE} is missing")
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
    model.load_lora_adapter(folder, prefix=None, weight_name=ADAPTER_FILE)


def merge_lora(model: SkyReelsV4Transformer) -> None:
    """Add the loaded adapter to the weights it adapts and forget it."""
    model.fuse_lora()
    model.unload_lora()
