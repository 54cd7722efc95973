"""SkyReels-V3: references to video, extension, talking avatars; each a diffusers pipeline. See docs/v3.md.

The three classes load when they are first asked for, so that plans and sizes stay cheap to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openreels.pipelines.v3.avatar import SkyReelsV3AvatarPipeline
    from openreels.pipelines.v3.base import V3Output
    from openreels.pipelines.v3.extension import SkyReelsV3ExtensionPipeline
    from openreels.pipelines.v3.r2v import SkyReelsV3ReferencePipeline
    from openreels.pipelines.v3.speakers import Speaker

__all__ = [
    "SkyReelsV3AvatarPipeline",
    "SkyReelsV3ExtensionPipeline",
    "SkyReelsV3ReferencePipeline",
    "Speaker",
    "V3Output",
]

HOMES = {
    "SkyReelsV3AvatarPipeline": "avatar",
    "SkyReelsV3ExtensionPipeline": "extension",
    "SkyReelsV3ReferencePipeline": "r2v",
    "Speaker": "speakers",
    "V3Output": "base",
}


def __getattr__(name: str) -> object:
    if name in HOMES:
        return getattr(import_module(f"openreels.pipelines.v3.{HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
