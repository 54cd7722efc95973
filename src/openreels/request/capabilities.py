"""What a model can do, and whether that is enough for a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from openreels.request.errors import RequestError

if TYPE_CHECKING:
    from openreels.request.request import Request

__all__ = ["Capabilities", "check"]

FILMED = ("t2av", "t2v", "r2v")  # tasks whose videos may be made in stretches


@dataclass(frozen=True)
class Capabilities:
    """What a model can do.

    tasks: names as `Request.task` has them. durations: shortest and longest, in seconds. resolutions: such as "64p".
    fps: frames per second, exact. sample_rate: Hz, 0 for a model without sound of its own.
    duration, resolution, aspect: what it does where nothing is asked; None = as the given picture, clip or sound.
    options: fields of a request that not every model leaves to the user, and this one does: "fps", "shift", "cache".
    extensions: shortest and longest new part of an extension, in seconds; None: as `durations`.
    films: longest video of words and references, which is made in stretches, in seconds; None: as `durations`.
    """

    tasks: tuple[str, ...]
    durations: tuple[float, float]
    resolutions: tuple[str, ...]
    aspects: tuple[str, ...]
    fps: Fraction
    sample_rate: int
    duration: float | None = 2.0
    resolution: str | None = None
    aspect: str | None = None
    options: tuple[str, ...] = ()
    extensions: tuple[float, float] | None = None
    films: float | None = None

    @property
    def structured(self) -> bool:
        """Whether its prompts are structured captions. V3, which has no sound of its own, knows plain ones only."""
        return self.sample_rate > 0

    @property
    def defaults(self) -> dict[str, Any]:
        """Field of a request -> what stands for None."""
        return {"duration": self.duration, "resolution": self.resolution, "aspect": self.aspect}

    def durations_of(self, request: Request) -> tuple[float, float]:
        """Shortest and longest of what the request asks for, seconds."""
        if request.extends:
            return self.extensions or self.durations
        shortest, longest = self.durations
        return shortest, self.films if request.task in FILMED and self.films else longest

    def lacks(self, request: Request) -> list[str]:
        """What the request asks beyond them, each as "accepted, not given"; empty where the model can do it."""
        shortest, longest = self.durations_of(request)
        wishes = [(request.task in self.tasks, f"the tasks {', '.join(self.tasks)}, not {request.task}")]
        wishes.append((self.structured or not request.enhance, "prompts as they are, not enhanced"))
        wishes.append((self.structured or request.sounds is None, "no choice of sounds"))
        if request.duration is not None:
            granted = shortest <= request.duration <= longest
            wishes.append((granted, f"durations of {shortest:g} to {longest:g} s, not {request.duration:g} s"))
        if request.with_video and request.resolution is not None:
            granted = request.resolution in self.resolutions
            wishes.append((granted, f"resolutions of {', '.join(self.resolutions)}, not {request.resolution}"))
        if request.with_video and request.aspect is not None:
            granted = request.aspect in self.aspects
            wishes.append((granted, f"aspects of {', '.join(self.aspects)}, not {request.aspect}"))
        wishes += [
            (name in self.options, f"no choice of {name}, not {value:g}")
            for name in ("fps", "shift", "cache")
            if (value := getattr(request, name)) is not None
        ]
        return [sentence for granted, sentence in wishes if not granted]


def check(
    request: Request,
    capabilities: Capabilities,
    model: str = "this model",
    others: Mapping[str, Capabilities] | None = None,
) -> None:
    """Raises RequestError where `model` cannot serve the request, naming those of `others` which can."""
    lacks = capabilities.lacks(request)
    if lacks:
        able = [name for name, other in (others or {}).items() if not other.lacks(request)]
        advice = f"{', '.join(able)} can" if able else "no installed model can"
        raise RequestError(f"{model} accepts {', and '.join(lacks)}; {advice}")
