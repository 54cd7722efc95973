"""The scene script of the pocket world: pure data that says everything a scene holds, and its JSON form.

Units. Lengths are in units of the safe window's **short side**; the origin is the window's centre, x to the right, y
down, so the window spans x in [-width/2, width/2] with `Scene.width` and `Scene.height` (the shorter one is 1). Times
are seconds, angles radians. Nothing here depends on pixels or on a frame rate.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

__all__ = [
    "ACCESSORIES",
    "BACKGROUNDS",
    "COLOURS",
    "CORNERS",
    "EFFECTS",
    "FACES",
    "MATERIALS",
    "MOODS",
    "MOTIONS",
    "OVERLAYS",
    "PATTERNS",
    "SHAPES",
    "SIZES",
    "SOUNDS",
    "STYLES",
    "TONES",
    "VOICES",
    "VOWELS",
    "WEATHERS",
    "Melody",
    "Motion",
    "Note",
    "Overlay",
    "Scene",
    "Speech",
    "Subject",
    "Syllable",
]

SHAPES = ("ball", "box", "star", "triangle", "heart", "ring")
FACES = ("person", "cat", "robot")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (224, 36, 40),
    "orange": (246, 134, 24),
    "yellow": (250, 218, 46),
    "green": (40, 172, 60),
    "cyan": (44, 208, 222),
    "blue": (44, 78, 226),
    "magenta": (222, 50, 190),
    "white": (246, 246, 246),
}
MATERIALS = ("rubber", "metal", "wood", "glass")
SIZES = ("small", "large")
MOTIONS = ("bounce", "slide", "roll", "jump", "orbit", "fall", "still", "collide")
BACKGROUNDS = ("meadow", "beach", "city", "room", "snow", "desert")
VOICES = ("low", "high")
VOWELS = ("aa", "oo", "ee")
MOODS = ("cheerful", "sad")
ACCESSORIES = ("hat", "bow", "glasses")
PATTERNS = ("plain", "dots", "stripes")
WEATHERS = ("clear", "rain", "snowfall")
STYLES = ("plain", "paper", "sketch", "pixel", "neon")
TONES = ("natural", "warm", "cool")
EFFECTS = ("grey", "spotlight", "ripple")  # unfold from nothing at a scene's start to all of it at its end
OVERLAYS = ("watermark", "subtitle", "logo")
CORNERS = ("top left", "top right", "bottom left", "bottom right")
SOUNDS = ("speech", "effects", "music", "ambience")


@dataclass(frozen=True, slots=True)
class Motion:
    """How a subject moves. One record for all kinds; the meaning of each number depends on `kind`:

    ========  ==================  ===================  ==================  ====================  ===========
    kind      start               period               height              distance              restitution
    ========  ==================  ===================  ==================  ====================  ===========
    bounce    first floor hit     first arc            peak of first arc                         speed kept per hit
    slide     moving off          time until it stops                      signed travel
    roll      moving off          time until it stops                      signed travel
    jump      first take-off      time in the air      peak of a hop
    orbit     (phase at time 0)   one revolution       centre above rest   radius, sign = sense
    fall      letting go          time of the fall     height above rest
    collide   the hit             time until the rebound has stopped       signed way to the hit speed kept
    still
    ========  ==================  ===================  ==================  ====================  ===========

    x: centre at time 0 (for an orbit: of its centre). pause: seconds on the floor between two hops.
    phase: radians, orbit only. Heights are measured from the resting position upwards, positive.
    """

    kind: str
    x: float
    start: float = 0.0
    period: float = 0.0
    height: float = 0.0
    distance: float = 0.0
    restitution: float = 0.0
    pause: float = 0.0
    phase: float = 0.0


@dataclass(frozen=True, slots=True)
class Syllable:
    """One syllable. start, duration: seconds. vowel: of VOWELS. loudness in (0, 1]. note: MIDI number where it is sung,
    None where it is spoken."""

    start: float
    duration: float
    vowel: str
    loudness: float
    note: int | None = None


@dataclass(frozen=True, slots=True)
class Speech:
    """What a face says. voice: of VOICES. pitch: index of the speaker's pitch within the voice (0, 1, 2)."""

    voice: str
    pitch: int
    syllables: tuple[Syllable, ...]

    @property
    def is_sung(self) -> bool:
        return any(syllable.note is not None for syllable in self.syllables)


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing of a scene. kind: of SHAPES or FACES. material: of MATERIALS, None for faces. size: of SIZES.

    radius: short sides. tone: 0..7, small variations of its impact sound's pitch. blinks: times of closed eyes (faces).
    accessory: of ACCESSORIES, worn on top (hat), at the side of the top (bow) or across (glasses). pattern: of
    PATTERNS, drawn on the body.
    """

    kind: str
    colour: str
    size: str
    radius: float
    motion: Motion
    material: str | None = None
    tone: int = 0
    speech: Speech | None = None
    blinks: tuple[float, ...] = ()
    accessory: str | None = None
    pattern: str = "plain"

    @property
    def is_face(self) -> bool:
        return self.kind in FACES


@dataclass(frozen=True, slots=True)
class Note:
    """start: seconds. pitch: MIDI number. loudness in (0, 1]."""

    start: float
    pitch: int
    loudness: float


@dataclass(frozen=True, slots=True)
class Melody:
    """A music box tune. mood: of MOODS."""

    mood: str
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Overlay:
    """Something burnt into the picture, over everything and unmoved by the camera.

    kind: of OVERLAYS. corner: of CORNERS, where a watermark or a logo is; a subtitle stands at the bottom. variant:
    0..15, which of several drawings.
    """

    kind: str
    corner: str = "bottom right"
    variant: int = 0


@dataclass(frozen=True, slots=True)
class Scene:
    """A whole scene.

    seed: what it was drawn from. duration: seconds. aspect: safe width / height. floor: y of the floor line.
    variant: 0..255, shifts the far details of the background and its ambience. weather: of WEATHERS. style: of STYLES,
    how everything is drawn. tone: of TONES, of the light. effect: of EFFECTS or None. overlay: see `Overlay`. muted:
    those of SOUNDS that are not heard.
    """

    seed: int
    duration: float
    aspect: float
    background: str
    night: bool
    floor: float
    variant: int
    subjects: tuple[Subject, ...]
    melody: Melody | None = None
    weather: str = "clear"
    style: str = "plain"
    tone: str = "natural"
    effect: str | None = None
    overlay: Overlay | None = None
    muted: tuple[str, ...] = ()

    @property
    def width(self) -> float:
        """Of the safe window, in short sides."""
        return max(self.aspect, 1.0)

    @property
    def height(self) -> float:
        """Of the safe window, in short sides."""
        return max(1.0 / self.aspect, 1.0)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_json(self) -> str:
        """JSON text; `Scene.from_json` of it equals this scene exactly (floats keep every bit)."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Scene:
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Scene:
        subjects = tuple(_subject(item) for item in data["subjects"])
        melody = data["melody"]
        if melody is not None:
            melody = Melody(melody["mood"], tuple(Note(**note) for note in melody["notes"]))
        overlay = Overlay(**data["overlay"]) if data.get("overlay") is not None else None
        muted = tuple(data.get("muted", ()))
        return cls(**{**data, "subjects": subjects, "melody": melody, "overlay": overlay, "muted": muted})


def _subject(data: dict[str, Any]) -> Subject:
    speech = data["speech"]
    if speech is not None:
        speech = Speech(speech["voice"], speech["pitch"], tuple(Syllable(**item) for item in speech["syllables"]))
    return Subject(**{**data, "motion": Motion(**data["motion"]), "speech": speech, "blinks": tuple(data["blinks"])})
