"""A V4 transformer whose weights, gradients and optimizer state are divided among all processes (FSDP2)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from peft import LoraConfig
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from openreels.models.v4 import SkyReelsV4Transformer
from openreels.training.sharded.layout import Layout
from openreels.training.stages import part_of

__all__ = ["export_adapter", "export_weights", "freeze", "shard"]

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def shard(
    build: Callable[[], SkyReelsV4Transformer],
    layout: Layout,
    device: str,
    *,
    dtype: torch.dtype | None = None,
    checkpoint_layers: bool = True,
    prepare: Callable[[SkyReelsV4Transformer], None] = lambda model: None,
) -> SkyReelsV4Transformer:
    """The model of `build` on all processes, one `TwinLayer` a unit of sharding.

    build: called in the first process alone, which holds the whole model in RAM (float32) until it is dealt out.
    dtype: that weights are gathered and computed in, such as bfloat16; the shards, gradients and moments stay float32.
    checkpoint_layers: keep each layer's inputs alone and compute it again in the backward pass.
    prepare: what to do to the model before it is sharded (freezing, adapters).
    """
    whole = build().float() if layout.is_first else None
    box = [dict(whole.config) if whole is not None else None]
    dist.broadcast_object_list(box)
    with torch.device("meta"):
        model = SkyReelsV4Transformer.from_config(box[0])
    for each in (whole, model):
        if each is not None:
            prepare(each)
    if checkpoint_layers:
        model.enable_gradient_checkpointing()
    # Positions and times come along in float32 and must stay so: inputs are not cast.
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for unit in (*model.layers, model):
        fully_shard(unit, mesh=layout.shards, mp_policy=policy)
    model.to_empty(device=device)
    weights = whole.state_dict() if whole is not None else {}
    set_model_state_dict(model, weights, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True))
    return model


def freeze(model: SkyReelsV4Transformer, learns: tuple[str, ...], video_listens: bool) -> None:
    """Only the parts named in `learns` ("video", "audio", "cross") get gradients.

    A weight that no loss reaches is frozen as well, for it must not decay.
    """
    for name, parameter in model.named_parameters():
        reached = video_listens or "video_from_audio" not in name
        parameter.requires_grad_(part_of(name) in learns and reached)


def export_weights(model: SkyReelsV4Transformer, layout: Layout, folder: Path, dtype: torch.dtype) -> None:
    """All weights as a diffusers folder, written by the first process under a temporary name."""
    weights = get_model_state_dict(model, options=WHOLE)
    if layout.is_first:
        with torch.device("meta"):
            whole = SkyReelsV4Transformer.from_config(dict(model.config))
        whole.load_state_dict({name: value.to(dtype) for name, value in weights.items()}, assign=True)
        _replace(folder, lambda path: whole.save_pretrained(path, max_shard_size="5GB"))
    dist.barrier()


def export_adapter(model: SkyReelsV4Transformer, layout: Layout, folder: Path, config: LoraConfig) -> None:
    """The LoRA adapter as `pytorch_lora_weights.safetensors`, what diffusers' `load_lora_adapter` reads."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    weights: dict[str, Tensor] = get_model_state_dict(model, options=options)
    if layout.is_first:
        with torch.device("meta"):
            whole = SkyReelsV4Transformer.from_config(dict(model.config))
            whole.add_adapter(config)
        whole.load_state_dict(weights, strict=False, assign=True)
        _replace(folder, whole.save_lora_adapter)
    dist.barrier()


def _replace(folder: Path, write: Callable[[Path], object]) -> None:
    """Write a folder under a temporary name, then put it in the place of an older one.

    Whatever an interrupted call has left is put right first.
    """
    temporary, old = (folder.with_name(f".{folder.name}.{kind}") for kind in ("tmp", "old"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    if old.exists() and not folder.exists():  # stopped between the two renames below
        old.replace(folder)
    _remove(temporary, old)
    write(temporary)
    if folder.exists():
        folder.replace(old)
    temporary.replace(folder)
    _remove(old)


def _remove(*folders: Path) -> None:
    for folder in folders:
        if folder.exists():
            shutil.rmtree(folder)
