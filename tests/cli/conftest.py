"""A model that needs no weights, standing where the pipelines stand."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from types import ModuleType

import numpy as np
import pytest

from openreels.cli.__main__ import main
from openreels.media import Clip
from openreels.media.aspect import ASPECTS, frame_size, short_side
from openreels.media.timing import frames_for, samples_for
from openreels.request import Capabilities, Request, RequestError

POCKET = Capabilities(("t2av", "t2v", "t2a"), (1, 4), ("64p",), tuple(ASPECTS), Fraction(16), 16_000)


@dataclass(frozen=True)
class Card:
    name: str
    description: str
    capabilities: Capabilities


class NoiseReel:
    """Seeded noise in the size and length asked for."""

    name = "pocket"
    weight_hash = "sha256:0"
    capabilities = POCKET

    def __call__(self, request: Request, progress: Callable[[int, int], None] | None = None) -> Clip:
        rng = np.random.default_rng(request.seed)
        count = frames_for(request.duration, POCKET.fps)
        if progress:
            progress(1, 1)
        frames = audio = None
        if request.with_video:
            size = frame_size(request.aspect, short_side(request.resolution))
            frames = rng.integers(0, 256, (count, *size, 3), np.uint8)
        if request.with_audio:
            audio = rng.uniform(-0.3, 0.3, (1, samples_for(count, POCKET.fps, POCKET.sample_rate))).astype(np.float32)
        fps, rate = POCKET.fps if request.with_video else Fraction(0), POCKET.sample_rate if request.with_audio else 0
        return Clip(frames, fps, audio, rate)


def find(name: str) -> str:
    if name != "pocket":
        raise RequestError(f"model must be one of pocket, a folder or a hub id, not {name!r}")
    return name


@pytest.fixture
def reel(monkeypatch) -> type[NoiseReel]:
    """Installs the model as "pocket"; loads are counted in `reel.loads`."""
    NoiseReel.loads = 0

    def load(name: str) -> NoiseReel:
        NoiseReel.loads += 1
        return NoiseReel()

    pipelines, registry = ModuleType("openreels.pipelines"), ModuleType("openreels.pipelines.registry")
    pipelines.load = load
    registry.available = lambda: [Card("pocket", "Small, on a CPU.", POCKET)]
    registry.find = find
    monkeypatch.setitem(sys.modules, "openreels.pipelines", pipelines)
    monkeypatch.setitem(sys.modules, "openreels.pipelines.registry", registry)
    return NoiseReel


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def openreels(capsys, monkeypatch, tmp_path) -> Callable[..., Outcome]:
    """Runs the command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        code = main(arguments)
        return Outcome(code, *capsys.readouterr())

    return run
