"""From a name to a loaded model: its folder found or fetched, its family seen, a device chosen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from openreels.pipelines.reel import Reel
from openreels.pipelines.registry import available, family, find, folder_of

if TYPE_CHECKING:
    from openreels.pipelines.v3.reel import V3Reel

__all__ = ["best_device", "load_reel"]


def best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def load_reel(name: str, device: str | None = None) -> Reel | V3Reel:
    """See `openreels.load`."""
    folder = find(name)
    if isinstance(folder, str):
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(folder))
    device = device or best_device()
    if family(folder) == "v3":
        # Not before it is wanted: V3 is a leaf, and brings a second family of networks with it.
        from openreels.pipelines.v3.reel import V3Reel

        return V3Reel.from_pretrained(folder, name, device)
    shipped = {folder_of(card.name): card.name for card in available()}
    return Reel.from_pretrained(folder, shipped.get(folder, name), device)
