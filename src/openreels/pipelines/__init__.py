"""From a request to a clip. `load` gives a `Reel`; everything heavy is imported when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openreels.pipelines.reel import Reel

__all__ = ["load"]


def load(name: str = "pocket", *, device: str | None = None) -> Reel:
    """A loaded model, ready to be called with requests.

    name: one that `openreels models` lists, a folder in the layout of diffusers, or a hub id ("owner/name").
    device: "cpu", "cuda", "mps"; by default the best one present. Raises RequestError where there is no such model.
    """
    from openreels.pipelines.reel import Reel
    from openreels.pipelines.registry import find

    return Reel.from_pretrained(find(name), device=device)
