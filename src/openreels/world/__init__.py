"""The procedural audio-video world: scene script -> frames, sound, captions, masks, truth.

scene = sample_scene(0, duration=1.0625)
clip = render([scene], frames=17, height=64, width=64)      # uint8 frames, float32 16 kHz sound
text = captions(scene, seed=0).short_en
"""

from openreels.world.batch import Rendered, keep_freed_memory, render
from openreels.world.captions import Captions, captions, random_caption
from openreels.world.motion import Contact, Tracks, contacts, mouth, tracks
from openreels.world.rendering import masks, render_frames
from openreels.world.sampling import Split, held_out, sample_scene
from openreels.world.script import (
    BACKGROUNDS,
    COLOURS,
    FACES,
    MATERIALS,
    MOODS,
    MOTIONS,
    SHAPES,
    SIZES,
    VOICES,
    VOWELS,
    Melody,
    Motion,
    Note,
    Scene,
    Speech,
    Subject,
    Syllable,
)
from openreels.world.sound import SAMPLE_RATE, SoundEvent, render_sound, sound_events
from openreels.world.truth import ContactTruth, SubjectTruth, Truth, truth

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "FACES",
    "MATERIALS",
    "MOODS",
    "MOTIONS",
    "SAMPLE_RATE",
    "SHAPES",
    "SIZES",
    "VOICES",
    "VOWELS",
    "Captions",
    "Contact",
    "ContactTruth",
    "Melody",
    "Motion",
    "Note",
    "Rendered",
    "Scene",
    "SoundEvent",
    "Speech",
    "Split",
    "Subject",
    "SubjectTruth",
    "Syllable",
    "Tracks",
    "Truth",
    "captions",
    "contacts",
    "held_out",
    "keep_freed_memory",
    "masks",
    "mouth",
    "random_caption",
    "render",
    "render_frames",
    "render_sound",
    "sample_scene",
    "sound_events",
    "tracks",
    "truth",
]
