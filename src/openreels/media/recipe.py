"""The recipe of a finished clip: everything needed to make it again, carried in the file's tags."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from openreels.media.error import MediaError

__all__ = ["Recipe"]

TAG = "comment"  # the one tag that every container we write keeps whole, and that common players show


@dataclass(frozen=True)
class Recipe:
    """What made a clip.

    request:  the Request in its JSON form. model: its name. weights: hash of its weights.
    openreels, torch, platform, device: versions, machine, and where on it in which number format ("cpu float32").
    files: path -> hash of every file that the request names.
    Bit-identity is promised where all of them are equal. Clips of earlier versions say nothing of device and files.
    """

    request: Mapping[str, Any]
    model: str
    weights: str
    openreels: str
    torch: str
    platform: str
    device: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def here(
        cls, request: Mapping[str, Any], model: str, weights: str, device: str, files: Collection[str] = ()
    ) -> Recipe:
        """The recipe of what this installation makes of a request. files: their paths; one that is not there (a clip in
        memory stands for it) is left out."""
        versions = version("openreels"), version("torch"), platform.platform()
        hashes = {path: hash_file(Path(path)) for path in sorted(set(files)) if Path(path).is_file()}
        return cls(request, model, weights, *versions, device, hashes)

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
        kinds = {each.name: dict if each.name in ("request", "files") else str for each in fields(cls)}
        known = {name: stored[name] for name in kinds if name in stored}
        missing = [each.name for each in fields(cls)[:6] if each.name not in known]
        if missing:
            raise MediaError(f"the recipe in {source} is damaged: it lacks {', '.join(missing)}")
        wrong = [name for name, value in known.items() if not isinstance(value, kinds[name])]
        if wrong:
            raise MediaError(f"the recipe in {source} is damaged: its {wrong[0]} is {str(known[wrong[0]])[:40]!r}")
        return cls(**known)

    def differences(self, other: Recipe) -> list[str]:
        """Where `other` would not be bit-identical though its request is the same: "torch 2.13.0, now 2.14.0"."""
        names = ("model", "weights", "openreels", "torch", "platform", *(("device",) if self.device else ()))
        changed = [path for path, made_of in self.files.items() if other.files.get(path) != made_of]
        return [
            *(
                f"{n} {getattr(self, n)}, now {getattr(other, n)}"
                for n in names
                if getattr(self, n) != getattr(other, n)
            ),
            *(f"{path} is not what it was" for path in changed),
        ]


def hash_file(path: Path) -> str:
    """16 hex digits of its content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
