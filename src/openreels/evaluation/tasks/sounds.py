"""What a clip must sound like: parts of judgements from what the oracle hears. Every part is a name and yes or no."""

from __future__ import annotations

from openreels.evaluation.hearing import RATE, Heard
from openreels.evaluation.measures import heard_material, materials_of
from openreels.evaluation.melodies import manner_of_voice, mood_of_tune, voice_of_singer
from openreels.evaluation.oracle import listen
from openreels.media import Clip
from openreels.media.audio import resample, to_mono
from openreels.world import Scene

__all__ = ["as_told", "material", "mood", "sings", "sung", "switched", "voice"]


def _said(scene: Scene) -> str | None:
    """The voice of what is said, None where nobody is heard to speak."""
    speech = next((subject.speech for subject in scene.subjects if subject.speech is not None), None)
    return speech.voice if speech is not None and "speech" not in scene.muted else None


def sings(scene: Scene) -> bool:
    spoken = [subject.speech for subject in scene.subjects if subject.speech is not None]
    return any(syllable.note is not None for speech in spoken for syllable in speech.syllables)


def voice(scene: Scene, heard: Heard) -> dict[str, bool]:
    """The right voice of two, or none where none is to be heard."""
    return {"voice": heard.voice.kind == _said(scene)}


def material(scene: Scene, heard: Heard) -> dict[str, bool]:
    """Something hits, and sounds like one of the things that hit; no part of it where nothing does."""
    wanted = materials_of(scene)
    return {"material": heard_material(heard) in wanted} if wanted else {}


def as_told(scene: Scene, heard: Heard) -> dict[str, bool]:
    music = {"music": heard.music == (scene.melody is not None and "music" not in scene.muted)}
    return voice(scene, heard) | material(scene, heard) | music


def switched(scene: Scene, heard: Heard) -> dict[str, bool]:
    """Of speech, effects and music those and only those that are not muted."""
    hits = bool(materials_of(scene)) and "effects" not in scene.muted
    return {
        "speech": heard.voice.present == (_said(scene) is not None),
        "effects": bool(heard.impacts) == hits,
        "music": heard.music == (scene.melody is not None and "music" not in scene.muted),
    }


def _mono(clip: Clip):
    return to_mono(resample(clip.audio, clip.sample_rate, RATE))[0]


def mood(scene: Scene, clip: Clip) -> dict[str, bool]:
    """A music box of the right mood of two."""
    music = listen(clip).music
    return {"music": music, "mood": music and mood_of_tune(_mono(clip)) == scene.melody.mood}


def sung(scene: Scene, clip: Clip) -> dict[str, bool]:
    """Somebody sings, in the right voice of two."""
    sings = clip.audio is not None and manner_of_voice(_mono(clip)) == "sung"
    return {"sung": sings, "voice": sings and voice_of_singer(_mono(clip)) == _said(scene)}
