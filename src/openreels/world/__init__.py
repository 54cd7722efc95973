"""The procedural audio-video world: scene script -> frames, sound, captions, masks, truth.

scene = sample_scene(0, duration=1.0625)
clip = render([scene], frames=17, height=64, width=64)      # uint8 frames, float32 16 kHz sound
text = captions(scene, seed=0).short_en
"""

from openreels.world.batch import Rendered, keep_freed_memory, render
from openreels.world.camera import CAMERA_MOVES, Camera, CameraMove
from openreels.world.captions import Captions, captions, random_caption
from openreels.world.dressing import dressed
from openreels.world.film_captions import FilmCaptions, film_captions
from openreels.world.film_rendering import cut_frames, film_frames, render_film
from openreels.world.films import CUTS, Film, Shot, sample_film
from openreels.world.motion import Contact, Tracks, contacts, mouth, tracks
from openreels.world.rendering import masks, render_frames
from openreels.world.sampling import Split, held_out, sample_dialogue, sample_scene, sample_singing
from openreels.world.script import (
    ACCESSORIES,
    BACKGROUNDS,
    COLOURS,
    CORNERS,
    EFFECTS,
    FACES,
    MATERIALS,
    MOODS,
    MOTIONS,
    OVERLAYS,
    PATTERNS,
    SHAPES,
    SIZES,
    SOUNDS,
    STYLES,
    TONES,
    VOICES,
    VOWELS,
    WEATHERS,
    Melody,
    Motion,
    Note,
    Overlay,
    Scene,
    Speech,
    Subject,
    Syllable,
)
from openreels.world.sound import SAMPLE_RATE, SoundEvent, render_sound, sound_events
from openreels.world.truth import ContactTruth, SubjectTruth, Truth, truth

__all__ = [
    "ACCESSORIES",
    "BACKGROUNDS",
    "CAMERA_MOVES",
    "COLOURS",
    "CORNERS",
    "CUTS",
    "EFFECTS",
    "FACES",
    "MATERIALS",
    "MOODS",
    "MOTIONS",
    "OVERLAYS",
    "PATTERNS",
    "SAMPLE_RATE",
    "SHAPES",
    "SIZES",
    "SOUNDS",
    "STYLES",
    "TONES",
    "VOICES",
    "VOWELS",
    "WEATHERS",
    "Camera",
    "CameraMove",
    "Captions",
    "Contact",
    "ContactTruth",
    "Film",
    "FilmCaptions",
    "Melody",
    "Motion",
    "Note",
    "Overlay",
    "Rendered",
    "Scene",
    "Shot",
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
    "cut_frames",
    "dressed",
    "film_captions",
    "film_frames",
    "held_out",
    "keep_freed_memory",
    "masks",
    "mouth",
    "random_caption",
    "render",
    "render_film",
    "render_frames",
    "render_sound",
    "sample_dialogue",
    "sample_film",
    "sample_scene",
    "sample_singing",
    "sound_events",
    "tracks",
    "truth",
]
