"""`Request`: what a user asked, checked for itself.

Pydantic checks types and ranges, `combinations` what goes together. A failure is one sentence: which field, what was
given, what is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from openreels.prompts import Embedded, Enhanced, PromptError, parse
from openreels.prompts.enhanced import MAX_LENGTH
from openreels.request.capabilities import Capabilities
from openreels.request.combinations import contradictions
from openreels.request.errors import RequestError, shown
from openreels.request.parts import (
    Aspect,
    File,
    KeyFrame,
    Mask,
    Modality,
    Part,
    Reference,
    Seconds,
    SoundKind,
    Speaker,
    Transition,
    Use,
)

__all__ = ["SOURCE", "Request", "explain"]

# Names of what is to be made of a prompt alone (the paper's), and of a video.
TASKS: dict[str, str] = {"video+audio": "t2av", "video": "t2v", "audio": "t2a", "image": "t2i"}
SOURCE = "video_1"  # how a prompt may call the video that is edited, unless a reference has this tag

MAX_PROMPT = MAX_LENGTH
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_PROMPT)]


class Request(Part):
    """What the user asked, nothing else. What is None is left to the model.

    What is to be made follows from what is given (`task`). The prompt alone: a video with its sound, or what `modality`
    says. Further:
    references: pictures, clips and sounds of what should appear or be heard, each named "@tag" in the prompt.
    keyframes: pictures that the video shows at given times.
    video: a clip, and `use` what is done with it. "extend" (the default): it goes on for `duration`, or with a
        `transition` leads to a new shot. "edit": it is made anew as the prompt says, only inside `masks` and the `span`
        (start, end in seconds) where these are given, with its sound where `keep_audio` says so. "sound": it gets a
        soundtrack.
    audio: a sound that the picture follows. image: a portrait, the first frame, that speaks what its `speakers` say.
    sounds: which kinds are wanted; None: as the prompt says.
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
    modality: Modality = Field("video+audio", description="one of video+audio, video, audio, image")
    references: tuple[Reference, ...] = Field(
        (),
        max_length=9,
        strict=False,
        description="up to 9 pictures, clips and sounds, each with a path and a tag of 1 to 40 letters, digits, "
        "underscores or hyphens",
    )
    keyframes: tuple[KeyFrame, ...] = Field(
        (),
        max_length=8,
        strict=False,
        description="up to 8 pictures, each with a path and a time (seconds, first, last or auto)",
    )
    video: File | None = Field(None, description="the path of a clip")
    use: Use | None = Field(None, description="one of extend, edit, sound")
    masks: tuple[Mask, ...] = Field(
        (),
        max_length=16,
        strict=False,
        description="up to 16 masks, each a path, a box of four numbers from 0 to 1 or a polygon of at least three "
        "points of such numbers",
    )
    span: tuple[Seconds, Seconds] | None = Field(None, strict=False, description="two numbers of seconds from 0 to 200")
    keep_audio: bool = Field(False, description="true or false")
    transition: Transition | None = Field(
        None, description="one of none, cut-in, cut-out, multi-angle, shot-reverse-shot, cut-away, auto"
    )
    audio: File | None = Field(None, description="the path of a sound")
    image: File | None = Field(None, description="the path of a picture")
    speakers: tuple[Speaker, ...] = Field(
        (),
        max_length=8,
        strict=False,
        description="up to 8 people, each with the path of an audio or a voice, and a tag, a region of four numbers "
        "from 0 to 1 or a mask",
    )
    sounds: tuple[SoundKind, ...] | None = Field(
        None, min_length=1, max_length=3, strict=False, description="one or more of speech, effects, music"
    )
    enhance: bool = Field(False, description="true or false")
    original: Text | None = Field(None, description=f"text of up to {MAX_PROMPT:,} characters")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        try:
            parse(self.prompt, [reference.tag for reference in self.references])
        except PromptError as error:
            raise ValueError(f"prompt, {error.sentence}") from error
        if (sentence := next(iter(contradictions(self)), None)) is not None:
            raise ValueError(sentence)
        return self

    @property
    def with_video(self) -> bool:
        return self.modality != "audio"

    @property
    def with_audio(self) -> bool:
        return self.modality in ("video+audio", "audio")

    @property
    def extends(self) -> bool:
        """Whether a video goes on."""
        return self.video is not None and self.use in (None, "extend")

    @property
    def sound_is_given(self) -> bool:
        """Whether the sound is not made but given, so that the picture follows it."""
        return self.audio is not None or self.keep_audio or any(speaker.audio for speaker in self.speakers)

    @property
    def task(self) -> str:
        """Name of what is to be made.

        Of words: "t2av", "t2v", "t2a", "t2i". Of a video: "v2v" (it goes on), "v2v-shot" (a new shot follows), "rv2v"
        (either, with references), "edit", "inpaint" (inside masks), "retake" (a span), "v2a" (its soundtrack). Of a
        portrait: "a2v"; of people with voices, tags or references: "speakers". Of a sound: "a2v-drive". Of key frames:
        "i2v". Of references: "r2v", "r2i", "r2a", by what is made.
        """
        if self.video is not None:
            if self.use == "edit":
                return "retake" if self.span is not None else "inpaint" if self.masks else "edit"
            if self.use == "sound":
                return "v2a"
            return "rv2v" if self.references else "v2v" if self.transition is None else "v2v-shot"
        if self.speakers:
            portrait = self.image is not None and not self.references and self.sound_is_given
            return "a2v" if portrait else "speakers"
        if self.audio is not None:
            return "a2v-drive"
        if self.keyframes:
            return "i2v"
        if self.references:
            return {"audio": "r2a", "image": "r2i"}.get(self.modality, "r2v")
        return TASKS[self.modality]

    @property
    def follows(self) -> frozenset[str]:
        """Fields that, where they are left open, follow from what is given, not from the model's own choice."""
        if self.use == "sound":
            return frozenset({"duration", "aspect", "resolution"})
        followed = {"duration"} if self.use == "edit" or self.sound_is_given or self.modality == "image" else set()
        pictured = self.video is not None or self.image is not None or self.keyframes
        return frozenset(followed | {"aspect"} if pictured else followed)

    @property
    def captioned(self) -> str:
        """ "video+audio", "video" or "audio": what its caption is of. A picture's is that of a silent video."""
        return self.modality if self.with_audio else "video"

    @property
    def tagged(self) -> dict[str, str]:
        """Tag -> path of what the prompt may mention: pictures, clips and sounds."""
        return {reference.tag: reference.path for reference in self.references}

    @property
    def files(self) -> dict[str, str]:
        """What it is -> path of every file that must be read. A name that starts with "the audio" or "the voice" must
        have sound, "references @..." have either, all others pictures."""
        named = {f"references @{reference.tag}": reference.path for reference in self.references}
        named |= {name: path for name in ("video", "image") if (path := getattr(self, name)) is not None}
        named |= {f"keyframe {number}": keyframe.path for number, keyframe in enumerate(self.keyframes, 1)}
        named |= {f"mask {number}": mask.path for number, mask in enumerate(self.masks, 1) if mask.path is not None}
        if self.audio is not None:
            named["the audio"] = self.audio
        for number, speaker in enumerate(self.speakers, 1):
            for name in ("audio", "voice", "mask"):
                if (path := getattr(speaker, name)) is not None:
                    named[f"the {name} of speaker {number}"] = path
        return named

    def wishes(self) -> dict[str, Any]:
        """The fields in their JSON form, without those left open; `parse` reads them."""
        wishes = self.model_dump(mode="json").items()
        return {name: value for name, value in wishes if value not in (None, "", []) and value is not False}

    def filled(self, capabilities: Capabilities) -> Self:
        """With the model's own duration, resolution and aspect where the user left them open and nothing given decides
        them (`follows`); enhanced, where that is asked."""
        blanks = {
            name: value
            for name, value in capabilities.defaults.items()
            if value is not None and getattr(self, name) is None and name not in self.follows
        }
        filled = self.model_copy(update=blanks)
        if not self.enhance:
            return filled
        return filled.rewritten(Embedded()(self.prompt, self.captioned, self.tagged))

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
    """One sentence for all that is wrong with a Request: of each field the first fault."""
    faults: dict[tuple, str] = {}
    for item in error.errors(include_url=False, include_context=False):
        faults.setdefault(item["loc"][:1], fault(**item))
    return "; ".join(faults.values())


def fault(loc: tuple[int | str, ...], type: str, input: object, msg: str) -> str:
    if type == "value_error":
        return msg.removeprefix("Value error, ")
    if not loc:
        return f"a request must be a JSON object with the fields {', '.join(Request.model_fields)} ({msg})"
    name, whole = str(loc[0]), len(loc) == 1
    if type == "extra_forbidden":
        if not whole:
            return f"{shown(loc[-1])} is no part of {name}; accepted is {Request.model_fields[name].description}"
        return f"{shown(name)} is not a field of a request; accepted are {', '.join(Request.model_fields)}"
    if type == "missing" and whole:
        return f"{name} is missing; accepted is {Request.model_fields[name].description}"
    return f"{name} must be {Request.model_fields[name].description}, not {shown(input)}"
