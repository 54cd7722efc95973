"""True clips of a fixed sample of held-out scenes, measured once for all tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch

from openreels.evaluation.hearing import Heard
from openreels.evaluation.measures import Expectation
from openreels.evaluation.oracle import Sight, listen, look
from openreels.media import Clip
from openreels.world import Scene, render, sample_scene

FPS = 16
SECONDS = 2.0


def _clips_of(scenes: Sequence[Scene], height: int = 64, width: int = 64) -> list[Clip]:
    made = render(scenes, frames=int(SECONDS * FPS), height=height, width=width, fps=FPS)
    return [
        Clip(frames=frames.numpy(), fps=Fraction(FPS), audio=sound[None].numpy(), sample_rate=made.sample_rate)
        for frames, sound in zip(made.frames, made.audio, strict=True)
    ]


def _scene_with(wanted: Callable[[Scene], bool], first: int = 0, split: str = "held_out") -> Scene:
    number = first
    while True:
        scene = sample_scene(number, duration=SECONDS, split=split)
        if wanted(scene):
            return scene
        number += 1


@pytest.fixture(scope="session")
def clips_of(one_thread) -> Callable[..., list[Clip]]:
    """The world's own clips of scenes."""
    return _clips_of


@pytest.fixture(scope="session")
def scene_with() -> Callable[..., Scene]:
    """The first scene, by seed, for which a function is true."""
    return _scene_with


@dataclass(frozen=True)
class Sample:
    expected: tuple[Expectation, ...]
    clips: tuple[Clip, ...]
    measured: tuple[tuple[Sight, Heard], ...]

    @property
    def scenes(self) -> tuple[Scene, ...]:
        return tuple(item.scene for item in self.expected)


@pytest.fixture(scope="session")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def sample(one_thread) -> Sample:
    scenes = [sample_scene(number, duration=SECONDS, split="held_out") for number in range(90)]
    clips = _clips_of(scenes)
    return Sample(
        tuple(Expectation(scene) for scene in scenes),
        tuple(clips),
        tuple((look(clip), listen(clip)) for clip in clips),
    )
