"""From a name to a loaded model: its folder found or fetched, its family seen, a device chosen."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from openreels.pipelines.placement import pin_exactly
from openreels.pipelines.reel import Reel
from openreels.pipelines.registry import adapted, available, family, find, folder_of
from openreels.pipelines.v3.planning import MODELS
from openreels.request import RequestError

if TYPE_CHECKING:
    from openreels.pipelines.v3.reel import V3Reel

__all__ = ["best_device", "load_reel"]


def best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


# Weights of the released extension that one task alone needs: tens of gigabytes that the other need not wait for.
WEIGHTS = {"v2v": "transformer/*.safetensors*", "v2v-shot": "shot_transformer/*.safetensors*"}


def unused(hub_id: str, tasks: Collection[str] | None) -> list[str]:
    """Patterns of the files of a model that none of these tasks needs."""
    if tasks is None:
        return []
    # The transformer/ of any other model is for all that it does.
    two_networks = hub_id in MODELS["v2v"].hub_ids
    return [files for task, files in WEIGHTS.items() if task not in tasks and (two_networks or task == "v2v-shot")]


def load_reel(name: str, device: str | None = None, tasks: Collection[str] | None = None) -> Reel | V3Reel:
    """See `openreels.load`."""
    pin_exactly()
    folder, (base, adapter) = find(name), adapted(name)
    if isinstance(folder, str):
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(folder, ignore_patterns=unused(folder, tasks)))
    device = device or best_device()
    if Path(base).is_dir():
        base = str(folder.absolute())  # so that a recipe can be replayed from anywhere
    if family(folder) == "v3":
        if adapter is not None:
            raise RequestError(f"adapters are for V4 models, and {base} is of SkyReels-V3")
        # Not before it is wanted: V3 is a leaf, and brings a second family of networks with it.
        from openreels.pipelines.v3.reel import V3Reel

        return V3Reel.from_pretrained(folder, base, device, tasks=tasks)
    shipped = {folder_of(card.name): card.name for card in available()}
    called = shipped.get(folder, base)
    return Reel.from_pretrained(
        folder, called if adapter is None else f"{called}+{adapter.absolute()}", device, adapter
    )
