"""OpenReels: generate, inpaint and edit video with its sound.

Typical use:

    reel = openreels.load("pocket")
    clip = reel(openreels.Request(prompt="A red rubber ball bounces on the grass", duration=2.0, seed=0))
    clip.save("ball.mp4")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openreels.media import Clip
    from openreels.pipelines import load
    from openreels.request import KeyFrame, Mask, Reference, Request, Speaker

__all__ = ["Clip", "KeyFrame", "Mask", "Reference", "Request", "Speaker", "__version__", "load"]

# Names load on first use (PEP 562), so that `import openreels` costs milliseconds and not torch's seconds.
HOMES = {
    "Clip": "openreels.media",
    "load": "openreels.pipelines",
    **dict.fromkeys(("KeyFrame", "Mask", "Reference", "Request", "Speaker"), "openreels.request"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value = version("openreels")
    elif name in HOMES:
        value = getattr(import_module(HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
