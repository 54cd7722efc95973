"""`Request`: a user's wish, whatever the entrance; and what a model can do of it.

A request is checked twice, both times before any model loads: for itself (types and ranges, here by pydantic) and
against a model's `Capabilities` (`check`). A failure is one sentence: which field, what was given, what is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from openreels.prompts import Embedded, Enhanced, PromptError, parse
from openreels.prompts.enhanced import MAX_LENGTH

__all__ = [
    "Aspect",
    "Capabilities",
    "Modality",
    "Reference",
    "Request",
    "RequestError",
    "Speaker",
    "Transition",
    "check",
    "explain",
]

Aspect = Literal["16:9", "4:3", "1:1", "3:4", "9:16"]
Modality = Literal["video+audio", "video", "audio"]
Transition = Literal["none", "cut-in", "cut-out", "multi-angle", "shot-reverse-shot", "cut-away", "auto"]
TASKS: dict[str, str] = {"video+audio": "t2av", "video": "t2v", "audio": "t2a"}  # the paper's names

MAX_PROMPT = MAX_LENGTH
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_PROMPT)]
File = Annotated[str, StringConstraints(min_length=1, max_length=4_096)]  # a path
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]  # of a picture's width or height


class RequestError(ValueError):
    """A request cannot be served. One sentence: which field, what was given, what is accepted."""


class Part(BaseModel):
    """What requests are made of: immutable, strict (no "2" for 2), unknown fields refused; JSON both ways."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Reference(Part):
    """A picture of somebody or something that should appear. tag: its name, "@tag" in the prompt."""

    tag: str = Field(pattern=r"^\w+(-\w+)*$", max_length=40)
    path: File


class Speaker(Part):
    """One person of a portrait. audio: what they say. region: (left, top, right, bottom) as shares of the portrait's
    width and height from its top left; mask: a picture of the portrait's size, white where they are."""

    audio: File
    region: tuple[Share, Share, Share, Share] | None = Field(None, strict=False)
    mask: File | None = None


class Request(Part):
    """What the user asked, nothing else. What is None is left to the model.

    What is to be made follows from what is given: a `video` is extended, or with a `transition` followed by a new shot;
    a portrait (`image`) speaks what its `speakers` say; `references` appear in a new video; a prompt alone makes all.
    The prompt obeys the grammar of `openreels.prompts`, which plain text does. Where `enhance` is set, the embedded
    enhancer rewrites it for models that know structured captions; `original` is then what the user wrote.
    cache: of so many sampling steps one is computed and the others are extrapolated: faster, and less exact.
    A field's description is what error messages say is accepted.
    """

    prompt: Text = Field(min_length=1, description=f"text of 1 to {MAX_PROMPT:,} characters")
    negative: Text = Field("", description=f"text of up to {MAX_PROMPT:,} characters")
    duration: float | None = Field(
        None, gt=0, le=200, allow_inf_nan=False, description="a number of seconds above 0 and up to 200"
    )
    resolution: str | None = Field(
        None,
        pattern=r"^[1-9]\d{0,2}[02468]p$",
        description="an even number of pixels of the short side, such as 64p or 720p",
    )
    aspect: Aspect | None = Field(None, description="one of 16:9, 4:3, 1:1, 3:4, 9:16")
    seed: int = Field(0, ge=0, lt=2**63, description="a whole number from 0 to 2^63 - 1")
    steps: int | None = Field(None, ge=1, le=1000, description="a whole number from 1 to 1,000")
    guidance: float | None = Field(None, ge=0, le=30, allow_inf_nan=False, description="a number from 0 to 30")
    shift: float | None = Field(None, gt=0, le=100, allow_inf_nan=False, description="a number above 0 and up to 100")
    cache: int | None = Field(None, ge=1, le=10, description="a whole number from 1 to 10")
    fps: float | None = Field(None, ge=1, le=240, allow_inf_nan=False, description="a number from 1 to 240")
    modality: Modality = Field("video+audio", description="one of video+audio, video, audio")
    references: tuple[Reference, ...] = Field(
        (),
        max_length=9,
        strict=False,
        description="up to 9 pictures, each with a path and a tag of 1 to 40 letters, digits, underscores or hyphens",
    )
    video: File | None = Field(None, description="the path of a clip")
    transition: Transition | None = Field(
        None, description="one of none, cut-in, cut-out, multi-angle, shot-reverse-shot, cut-away, auto"
    )
    image: File | None = Field(None, description="the path of a picture")
    speakers: tuple[Speaker, ...] = Field(
        (),
        max_length=8,
        strict=False,
        description="up to 8 sounds, each with a path, and a region of four numbers from 0 to 1 or a mask",
    )
    enhance: bool = Field(False, description="true or false")
    original: Text | None = Field(None, description=f"text of up to {MAX_PROMPT:,} characters")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        try:
            parse(self.prompt, [reference.tag for reference in self.references])
        except PromptError as error:
            raise ValueError(f"prompt, {error.sentence}") from error
        if (self.image is None) != (not self.speakers):
            raise ValueError("a portrait needs at least one speaker, and speakers need a portrait (image)")
        if self.transition is not None and self.video is None:
            raise ValueError("a transition needs the video that it leads on from")
        given = [name for name in ("references", "video", "image") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are not used together; accepted is one of them")
        if given and self.modality == "audio":
            raise ValueError(
                f"from {given[0]} a video is made; accepted modalities are video+audio and video, not audio"
            )
        return self

    @property
    def with_video(self) -> bool:
        return self.modality != "audio"

    @property
    def with_audio(self) -> bool:
        return self.modality != "video"

    @property
    def task(self) -> str:
        """Name of what is to be made: "t2av", "t2v", "t2a", "r2v", "v2v", "v2v-shot" or "a2v"."""
        if self.speakers:
            return "a2v"
        if self.video is not None:
            return "v2v" if self.transition is None else "v2v-shot"
        return "r2v" if self.references else TASKS[self.modality]

    @property
    def pictures(self) -> dict[str, str]:
        """Tag -> path of what the prompt may mention."""
        return {reference.tag: reference.path for reference in self.references}

    @property
    def files(self) -> dict[str, str]:
        """Field -> path of every file that must be read."""
        named = {f"references @{reference.tag}": reference.path for reference in self.references}
        named |= {name: path for name in ("video", "image") if (path := getattr(self, name)) is not None}
        for number, speaker in enumerate(self.speakers, 1):
            named[f"the audio of speaker {number}"] = speaker.audio
            if speaker.mask is not None:
                named[f"the mask of speaker {number}"] = speaker.mask
        return named

    def wishes(self) -> dict[str, Any]:
        """The fields in their JSON form, without those left open; `parse` reads them."""
        wishes = self.model_dump(mode="json").items()
        return {name: value for name, value in wishes if value not in (None, "", []) and value is not False}

    def filled(self, capabilities: Capabilities) -> Self:
        """With the model's own duration, resolution and aspect where the user left them open; enhanced, where that is
        asked."""
        blanks = {
            name: value
            for name, value in capabilities.defaults.items()
            if value is not None and getattr(self, name) is None
        }
        filled = self.model_copy(update=blanks)
        return filled.rewritten(Embedded()(self.prompt, self.modality, self.pictures)) if self.enhance else filled

    def rewritten(self, enhanced: Enhanced) -> Self:
        """With an enhancer's prompt, which is not enhanced again. Raises ValidationError where it is too long."""
        changes = {"prompt": enhanced.prompt, "original": enhanced.original} if enhanced.changed else {}
        return self.model_validate({**dict(self), **changes, "enhance": False})

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Self:
        """Like the constructor, but raises RequestError with one sentence."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise RequestError(explain(error)) from error

    @classmethod
    def parse_strings(cls, fields: Mapping[str, Any]) -> Self:
        """From a command line or a form, where numbers are text. Raises RequestError."""
        try:
            return cls.model_validate(fields, strict=False)
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
    if type == "value_error":
        return msg.removeprefix("Value error, ")
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

    tasks: names as `Request.task` has them. durations: shortest and longest, in seconds. resolutions: such as "64p".
    fps: frames per second, exact. sample_rate: Hz, 0 for a model without sound of its own.
    duration, resolution, aspect: what it does where nothing is asked; None = as the given picture, clip or sound.
    options: fields of a request that not every model leaves to the user, and this one does: "fps", "shift", "cache".
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

    @property
    def structured(self) -> bool:
        """Whether its prompts are structured captions. V3, which has no sound of its own, knows plain ones only."""
        return self.sample_rate > 0

    @property
    def defaults(self) -> dict[str, Any]:
        """Field of a request -> what stands for None."""
        return {"duration": self.duration, "resolution": self.resolution, "aspect": self.aspect}

    def lacks(self, request: Request) -> list[str]:
        """What the request asks beyond them, each as "accepted, not given"; empty where the model can do it."""
        shortest, longest = self.durations
        wishes = [(request.task in self.tasks, f"the tasks {', '.join(self.tasks)}, not {request.task}")]
        wishes.append((self.structured or not request.enhance, "prompts as they are, not enhanced"))
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
