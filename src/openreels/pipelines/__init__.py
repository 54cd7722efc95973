"""From a request to a clip. `load` gives a `Reel`; everything heavy is imported when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from openreels.pipelines.reel import Reel
    from openreels.pipelines.v3.reel import V3Reel

__all__ = ["load"]


def load(name: str = "pocket", *, device: str | None = None, tasks: Collection[str] | None = None) -> Reel | V3Reel:
    """A loaded model, ready to be called with requests.

    name: one that `openreels models` lists, a folder, or a hub id ("owner/name"). Folders: ours in the layout of
    diffusers, and SkyReels-V3's as they were released.
    device: "cpu", "cuda", "mps"; by default the best one present. tasks: what it will be asked for (`Request.task`), by
    default anything; networks for other tasks alone are neither fetched nor loaded. Raises RequestError where there is
    no such model.
    """
    from openreels.pipelines.loading import load_reel

    return load_reel(name, device, tasks)
