"""All rows of the task table by name, and how a case of any of them is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from openreels.world.examples import editing, generation, inpainting, references, shots, sound, speakers
from openreels.world.examples.draw import FPS, Draw
from openreels.world.examples.example import Example
from openreels.world.films import CUTS
from openreels.world.sampling import Split

__all__ = ["GROUPS", "ROWS", "Row", "sample_example"]

GROUPS = (
    "generation",
    "key frames",
    "extension",
    "references",
    "inpainting",
    "editing",
    "sound",
    "speakers",
    "shots",
)

SHORTEST = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Row:
    """One task. description: a line for tables. group: of GROUPS. has_picture, has_sound: of its result. still: its
    result is a single frame."""

    name: str
    group: str
    description: str
    draw: Callable[[Draw], Example]
    has_picture: bool = True
    has_sound: bool = True
    still: bool = False

    def __call__(self, seed: int, duration: float, aspect: float = 1.0, split: Split = "train") -> Example:
        """A random case, a function of its arguments alone. Those of `sample_example`."""
        return self.draw(Draw(self.name, seed, duration, aspect, split))


_ALL = (
    Row("t2av", "generation", "text to video with sound", generation.with_sound),
    Row("t2i", "generation", "text to image", generation.picture, has_sound=False, still=True),
    Row("t2a-speech", "generation", "text to speech", generation.speech, has_picture=False),
    Row("t2a-effects", "generation", "text to sound effects", generation.effects, has_picture=False),
    Row("t2a-music", "generation", "text to music", generation.music, has_picture=False),
    Row("t2a-singing", "generation", "text to singing", generation.singing, has_picture=False),
    Row("first-frame", "key frames", "video from its first frame", generation.first_frame),
    Row("last-frame", "key frames", "video to its last frame", generation.last_frame),
    Row("first-and-last-frame", "key frames", "video between two frames", generation.first_and_last_frame),
    Row("key-frames", "key frames", "video through two to four frames at known times", generation.key_frames),
    Row("retake", "key frames", "a time range of a clip made anew", generation.retake),
    Row("extension", "extension", "a clip goes on in the same shot", generation.extension),
    *(Row(f"extension-{cut}", "extension", f"a clip goes on after a {cut}", partial(shots.after, cut)) for cut in CUTS),
    Row("references-1", "references", "a subject from a picture", partial(references.images, 1)),
    Row("references-2", "references", "two subjects, or one and a place, of pictures", partial(references.images, 2)),
    Row("references-3", "references", "two subjects and the place from pictures", partial(references.images, 3)),
    Row("references-4", "references", "the same, one subject from two pictures", partial(references.images, 4)),
    Row("storyboard", "references", "several shots from a grid of panels", references.storyboard),
    Row("motion-reference", "references", "subject from a picture, motion from a clip", references.motion),
    Row("expression-reference", "references", "face from a picture, expressions from a clip", references.expression),
    Row("background-and-clip", "references", "place of a picture, content of a clip", references.background_and_clip),
    Row("effect-reference", "references", "a first frame under the effect of a clip", references.effect),
    Row("inpaint-subject", "inpainting", "another subject in a mask that stands still", inpainting.subject),
    Row("inpaint-attribute", "inpainting", "another colour or pattern in a moving mask", inpainting.attribute),
    Row("inpaint-background", "inpainting", "another place around what is kept", inpainting.background),
    Row("inpaint-moving", "inpainting", "another subject in a moving mask", inpainting.moving),
    Row("inpaint-reference", "inpainting", "the subject of a picture in a mask", inpainting.reference),
    Row("inpaint-two-references", "inpainting", "the subjects of two pictures in two masks", inpainting.two_references),
    Row("remove-watermark", "editing", "a watermark removed", partial(editing.remove_overlay, "watermark")),
    Row("remove-subtitle", "editing", "a subtitle removed", partial(editing.remove_overlay, "subtitle")),
    Row("remove-logo", "editing", "a logo removed", partial(editing.remove_overlay, "logo")),
    Row("remove-subject", "editing", "a subject removed", editing.remove_subject),
    Row("add-subject", "editing", "a subject added", editing.add_subject),
    Row("replace-subject", "editing", "a subject replaced", editing.replace_subject),
    Row("recolour", "editing", "another colour", editing.recolour),
    Row("repattern", "editing", "another pattern", editing.repattern),
    Row("accessory", "editing", "a hat, a bow or glasses put on or taken off", editing.accessory),
    Row("edit-background", "editing", "another place, the foreground kept", editing.background),
    Row("style", "editing", "another style", editing.style),
    Row("camera", "editing", "the camera pans, pushes in or pulls out", editing.camera),
    Row("weather", "editing", "rain or snowfall comes or goes", editing.weather),
    Row("night", "editing", "day becomes night, or night day", editing.night),
    Row("tone", "editing", "warmer or cooler light", editing.tone),
    Row("sound-to-speech", "sound", "given a voice: the face that speaks", sound.to_speech),
    Row("sound-to-impacts", "sound", "given hits: what bounces, jumps or falls", sound.to_impacts),
    Row("video-to-sound", "sound", "given silent video: its sound", sound.to_sound),
    Row("voice-reference", "sound", "speech in the voice of another recording", sound.voice_reference),
    Row("music-reference", "sound", "music in the mood of another recording", sound.music_reference),
    Row("sounds-switched", "sound", "only some kinds of sound", sound.sounds_switched),
    Row("speakers", "speakers", "two speakers, each with a place, a voice and a turn", speakers.speakers),
    Row("multi-shot", "shots", "two or three shots with the cuts that are told", shots.multi_shot),
)  # fmt: skip

ROWS: dict[str, Row] = {row.name: row for row in _ALL}


def sample_example(
    row: str, seed: int, *, duration: float = 33 / FPS, aspect: float = 1.0, split: Split = "train"
) -> Example:
    """A random case of a row, a function of its arguments alone.

    row: of ROWS. duration: seconds of the target from 1 on, to the next 4 k + 1 frames of 1/16 s (a still lasts
    one frame). aspect: width / height.
    split: in "held_out" a subject of the target is a combination that "train" never shows.
    Raises ValueError for a row that is not there, and for a duration that its films cannot have.
    """
    if duration < SHORTEST:
        raise ValueError(f"duration must be at least {SHORTEST} s, not {duration}")
    if row not in ROWS:
        raise ValueError(f"row must be one of {', '.join(ROWS)}, not {row!r}")
    return ROWS[row](seed, duration, aspect, split)
