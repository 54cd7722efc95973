"""The recipe of a finished clip: everything needed to make it again, carried in the file's tags."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from typing import Any

from openreels.media.error import MediaError

__all__ = ["Recipe"]

TAG = "comment"  # the one tag that every container we write keeps whole, and that common players show


@dataclass(frozen=True)
class Recipe:
    """What made a clip.

    request:  the Request in its JSON form. model: its name. weights: hash of its weights.
    openreels, torch, platform: versions and machine; bit-identity is promised where all of them are equal.
    """

    request: Mapping[str, Any]
    model: str
    weights: str
    openreels: str
    torch: str
    platform: str

    @classmethod
    def here(cls, request: Mapping[str, Any], model: str, weights: str) -> Recipe:
        """The recipe of what this installation makes of a request."""
        return cls(request, model, weights, version("openreels"), version("torch"), platform.platform())

    def to_metadata(self) -> dict[str, str]:
        """Tags for `Clip.metadata`: the prompt as title, the recipe as JSON in ASCII, which every container keeps."""
        return {"title": str(self.request.get("prompt", ""))[:200], TAG: json.dumps(asdict(self), sort_keys=True)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: str = "this file") -> Recipe | None:
        """The recipe in the tags of `source`, or None where there is none. Raises MediaError where it is damaged."""
        try:
            stored = json.loads(metadata.get(TAG, ""))
        except json.JSONDecodeError:
            return None  # somebody else's comment
        if not isinstance(stored, dict) or "openreels" not in stored:
            return None
        names = [field.name for field in fields(cls)]
        missing = [name for name in names if name not in stored]
        if missing or not isinstance(stored["request"], dict):
            raise MediaError(f"the recipe in {source} is damaged: it lacks {', '.join(missing) or 'a request object'}")
        return cls(**{name: stored[name] for name in names})

    def differences(self, other: Recipe) -> list[str]:
        """Where `other` would not be bit-identical though its request is the same: "torch 2.13.0, now 2.14.0"."""
        return [
            f"{name} {getattr(self, name)}, now {getattr(other, name)}"
            for name in ("model", "weights", "openreels", "torch", "platform")
            if getattr(self, name) != getattr(other, name)
        ]
