"""`Request`: a user's wish, whatever the entrance; and what a model can do of it.

A request is checked twice, both times before any model loads: for itself (types and ranges, here by pydantic) and
against a model's `Capabilities` (`check`). A failure is one sentence: which field, what was given, what is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

__all__ = ["Aspect", "Capabilities", "Modality", "Request", "RequestError", "check", "explain"]

Aspect = Literal["16:9", "4:3", "1:1", "3:4", "9:16"]
Modality = Literal["video+audio", "video", "audio"]
TASKS: dict[str, str] = {"video+audio": "t2av", "video": "t2v", "audio": "t2a"}  # the paper's names

MAX_PROMPT = 4_000
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_PROMPT)]


class RequestError(ValueError):
    """A request cannot be served. One sentence: which field, what was given, what is accepted."""


class Request(BaseModel):
    """What the user asked, nothing else. Immutable, strict (no "2" for 2), unknown fields refused; JSON both ways.

    A field's description is what error messages say is accepted.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    prompt: Text = Field(min_length=1, description=f"text of 1 to {MAX_PROMPT:,} characters")
    negative: Text = Field("", description=f"text of up to {MAX_PROMPT:,} characters")
    duration: float = Field(
        2.0, gt=0, le=200, allow_inf_nan=False, description="a number of seconds above 0 and up to 200"
    )
    resolution: str = Field(
        "64p",
        pattern=r"^[1-9]\d{0,2}[02468]p$",
        description="an even number of pixels of the short side, such as 64p or 720p",
    )
    aspect: Aspect = Field("1:1", description="one of 16:9, 4:3, 1:1, 3:4, 9:16")
    seed: int = Field(0, ge=0, lt=2**63, description="a whole number from 0 to 2^63 - 1")
    steps: int | None = Field(None, ge=1, le=1000, description="a whole number from 1 to 1,000")
    guidance: float | None = Field(None, ge=0, le=30, allow_inf_nan=False, description="a number from 0 to 30")
    modality: Modality = Field("video+audio", description="one of video+audio, video, audio")

    @property
    def with_video(self) -> bool:
        return self.modality != "audio"

    @property
    def with_audio(self) -> bool:
        return self.modality != "video"

    @property
    def task(self) -> str:
        """The paper's name of it: "t2av", "t2v" or "t2a"."""
        return TASKS[self.modality]

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Self:
        """Like the constructor, but raises RequestError with one sentence."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise RequestError(explain(error)) from error

    @classmethod
    def parse_strings(cls, fields: Mapping[str, str]) -> Self:
        """From a command line or a form, where everything is text. Raises RequestError."""
        try:
            return cls.model_validate_strings(fields)
        except ValidationError as error:
            raise RequestError(explain(error)) from error

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Raises RequestError."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise RequestError(explain(error)) from error

    def to_json(self) -> str:
        return self.model_dump_json()


def explain(error: ValidationError) -> str:
    """One sentence for all that is wrong with a Request."""
    return "; ".join(dict.fromkeys(fault(**item) for item in error.errors(include_url=False, include_context=False)))


def fault(loc: tuple[int | str, ...], type: str, input: object, msg: str) -> str:
    if not loc:
        return f"a request must be a JSON object with the fields {', '.join(Request.model_fields)} ({msg})"
    name = str(loc[0])
    if type == "extra_forbidden":
        return f"{shown(name)} is not a field of a request; accepted are {', '.join(Request.model_fields)}"
    if type == "missing":
        return f"{name} is missing; accepted is {Request.model_fields[name].description}"
    return f"{name} must be {Request.model_fields[name].description}, not {shown(input)}"


def shown(value: object) -> str:
    """A value in an error message: short, on one line."""
    if isinstance(value, str) and not value.strip():
        return "an empty text"
    text = repr(value)
    return text if len(text) <= 60 else f"{len(value):,} characters" if isinstance(value, str) else f"{text[:56]} ..."


@dataclass(frozen=True)
class Capabilities:
    """What a model can do.

    tasks: of "t2av", "t2v", "t2a". durations: shortest and longest, in seconds. resolutions: such as "64p".
    fps: frames per second, exact. sample_rate: Hz, 0 for a model without sound.
    """

    tasks: tuple[str, ...]
    durations: tuple[float, float]
    resolutions: tuple[str, ...]
    aspects: tuple[str, ...]
    fps: Fraction
    sample_rate: int

    def lacks(self, request: Request) -> list[str]:
        """What the request asks beyond them, each as "accepted, not given"; empty where the model can do it."""
        shortest, longest = self.durations
        wishes = [
            (request.task in self.tasks, f"the tasks {', '.join(self.tasks)}, not {request.task}"),
            (
                shortest <= request.duration <= longest,
                f"durations of {shortest:g} to {longest:g} s, not {request.duration:g} s",
            ),
        ]
        if request.with_video:
            wishes += [
                (
                    request.resolution in self.resolutions,
                    f"resolutions of {', '.join(self.resolutions)}, not {request.resolution}",
                ),
                (request.aspect in self.aspects, f"aspects of {', '.join(self.aspects)}, not {request.aspect}"),
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
