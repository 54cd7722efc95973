"""The models that come with this package and what each can do; cheap to import, so that wishes are checked first."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

from openreels.media.aspect import ASPECTS
from openreels.request import Capabilities, RequestError

__all__ = [
    "NEW_SHOT",
    "POCKET",
    "V3",
    "ModelCard",
    "adapted",
    "available",
    "capabilities",
    "family",
    "find",
    "folder_of",
    "offered",
]

ADAPTER_FILE = "pytorch_lora_weights.safetensors"  # as diffusers calls it; not imported for its name alone
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class ModelCard:
    """name: what `--model` takes. description: one line for people."""

    name: str
    description: str
    capabilities: Capabilities


POCKET = Capabilities(
    tasks=(
        *("t2av", "t2v", "t2a", "t2i", "i2v", "v2v", "v2v-shot", "rv2v", "r2v", "r2i", "r2a"),
        *("edit", "inpaint", "retake", "v2a", "a2v-drive", "a2v", "speakers"),
    ),
    durations=(1.0, 4.0),
    resolutions=("64p",),
    aspects=tuple(ASPECTS),
    fps=Fraction(16),
    sample_rate=16_000,
    duration=2.0,
    resolution="64p",
    aspect="1:1",
    options=("cache",),
    extensions=(0.25, 30.0),
    films=120.0,
)
SIZES = ("480p", "540p", "720p")
CHOICES = ("fps", "shift")
NEW_SHOT = (2.0, 5.0)  # seconds that V3's shot-switching network draws after a cut
# By variant, as `pipelines.v3.loading.detect` names them. An avatar is as long as what is said.
V3 = {
    "r2v": Capabilities(("r2v",), (1, 30), SIZES, tuple(ASPECTS), Fraction(24), 0, 5.0, "720p", options=CHOICES),
    "v2v": Capabilities(
        ("v2v", "v2v-shot"), (1, 200), SIZES, tuple(ASPECTS), Fraction(24), 0, 5.0, "720p", options=CHOICES
    ),
    "a2v": Capabilities(("a2v",), (0.4, 200), SIZES, tuple(ASPECTS), Fraction(25), 0, None, "720p", options=CHOICES),
}


def available() -> list[ModelCard]:
    """Every model that loads by its name alone."""
    return [ModelCard("pocket", "trained from scratch on a procedural world; runs on two CPU cores", POCKET)]


def folder_of(name: str) -> Path:
    """Where the weights of a model of `available` lie inside this package."""
    return Path(str(files("openreels") / "weights" / name))


def family(folder: Path) -> str:
    """Which of our model families a folder holds: "v4" by its model_index.json, else "v3", if any."""
    try:
        index = json.loads((folder / "model_index.json").read_text())
    except (OSError, ValueError):
        return "v3"
    return "v4" if isinstance(index, dict) and index.get("_class_name") == "SkyReelsV4Pipeline" else "v3"


def offered(config: Mapping[str, Any], sample_rate: int) -> Capabilities:
    """What a V4 model can do: `fps` and `offers` of its config; what these leave open is as in pocket.

    Raises RequestError where `offers` holds something that `Capabilities` do not know.
    """
    offers = {
        name: tuple(value) if isinstance(value, list) else value for name, value in (config.get("offers") or {}).items()
    }
    known = {field.name for field in fields(Capabilities)} - {"fps", "sample_rate"}
    if unknown := sorted(offers.keys() - known):
        raise RequestError(f"offers of a model are {', '.join(sorted(known))}, not {', '.join(unknown)}")
    fps = Fraction(str(config.get("fps", POCKET.fps)))
    return replace(POCKET, **offers, fps=fps, sample_rate=sample_rate)


def capabilities(folder: Path) -> Capabilities:
    """Of the V4 model in a diffusers folder, by its model_index.json and its audio codec. Raises RequestError."""
    try:
        index = json.loads((folder / "model_index.json").read_text())
        audio = json.loads((folder / "audio_vae" / "config.json").read_text())
        return offered(index, audio["sample_rate"])
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise RequestError(f"{folder} is no complete V4 model: its model_index.json and audio_vae/config.json do not "
                           f"say what it can do ({error})") from error  # fmt: skip


def adapted(name: str) -> tuple[str, Path | None]:
    """A model's own name and the folder of the LoRA adapter on it, of "NAME+ADAPTER"; no adapter where none is named.

    Raises RequestError where that folder holds none.
    """
    base, plus, adapter = name.rpartition("+")
    if not plus or Path(name).is_dir():
        return name, None
    if not (Path(adapter) / ADAPTER_FILE).is_file():
        raise RequestError(f"model {name}: there is no adapter in {adapter}, for it lacks {ADAPTER_FILE}")
    return base, Path(adapter)


def find(name: str) -> Path | str:
    """Where the weights of a model are: a folder, or the hub id itself; an adapter on it (`adapted`) lies elsewhere.

    Raises RequestError.
    """
    name, _ = adapted(name)
    if name in {card.name for card in available()}:
        folder = folder_of(name)
        if not (folder / "model_index.json").is_file():
            raise RequestError(
                f"the weights of {name} are missing in {folder}; reinstall, or train them: openreels train {name}"
            )
        return folder
    if Path(name).is_dir():
        return Path(name)
    if HUB_ID.fullmatch(name):
        return name
    raise RequestError(
        f"model must be one of {', '.join(card.name for card in available())}, a folder or a hub id, not {name!r}"
    )
