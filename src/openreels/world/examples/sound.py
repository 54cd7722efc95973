"""Rows that go from one modality to the other, take a voice or a theme from a sound, or switch kinds of sound off."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

from openreels.prompts.sounds import SWITCHED, sentence
from openreels.world.examples.draw import Draw, is_single
from openreels.world.examples.example import Example
from openreels.world.motion import contacts
from openreels.world.script import Scene, Speech

__all__ = ["music_reference", "sounds_switched", "to_impacts", "to_sound", "to_speech", "utterance", "voice_reference"]

GENERIC_SHARE = 0.3  # of prompts for the sound of a clip that do not say what it shows


def to_speech(draw: Draw) -> Example:
    """Given a voice: the face that says it."""
    scene = draw.scene(lambda each: is_single(each) and each.subjects[0].is_face)
    return draw.example(draw.words.caption(scene), scene, given="sound")


def to_impacts(draw: Draw) -> Example:
    """Given hits: what bounces, jumps or falls with them."""
    scene = draw.scene(lambda each: is_single(each) and bool(contacts(each)))
    return draw.example(draw.words.caption(scene), scene, given="sound")


def to_sound(draw: Draw) -> Example:
    scene = draw.scene(lambda each: any(subject.is_face for subject in each.subjects) or bool(contacts(each)))
    told = scene.melody is not None or any(subject.is_face for subject in scene.subjects)
    if told or draw.rng.random() > GENERIC_SHARE:
        prompt = draw.words.caption(scene)
    else:
        prompt = draw.words.say(
            ("Add the sound that belongs to it.", "A soundtrack for this clip.", "The sounds of what is seen."),
            ("为画面配上声音。", "给这段视频配音效。"),
        )
    return draw.example(prompt, scene, given="picture")


# -- references that are sounds ---------------------------------------------------------------------------------------


def utterance(draw: Draw, speech: Speech) -> Scene:
    """Something else said in the same voice, and nothing but that."""
    scene = draw.scene(lambda each: is_single(each) and each.subjects[0].is_face, split="train")
    face = scene.subjects[0]
    speech = replace(speech, syllables=face.speech.syllables)
    return replace(scene, subjects=(replace(face, speech=speech),), melody=None, muted=("effects", "music", "ambience"))


def voice_reference(draw: Draw) -> Example:
    words = draw.words
    scene = draw.scene(lambda each: is_single(each) and each.subjects[0].is_face)
    face = scene.subjects[0]
    prompt = words.say(
        (
            "{who} talks in the voice of @Audio-0 {place}.",
            "{place}, {who} speaks with the voice of @Audio-0.",
            "{who} {place} says something in the voice of @Audio-0.",
        ),
        ("{who}{place}用@Audio-0的声音说话。", "{place}，{who}以@Audio-0的嗓音说话。"),
        who=words.a(face), place=words.place(scene),
    )  # fmt: skip
    dialogue = words.part(
        "the {kind} speaks in the voice of @Audio-0", "{kind}用@Audio-0的声音说话", kind=words.kind(face.kind)
    )
    prompt = words.with_sounds(prompt, scene, dialogue=dialogue)
    return draw.example(prompt, scene, references=(draw.sound("Audio-0", utterance(draw, face.speech)),))


def music_reference(draw: Draw) -> Example:
    words = draw.words
    scene = replace(draw.scene(is_single), melody=draw.melody())
    theme = draw.scene(split="train")
    theme = replace(theme, subjects=(), melody=draw.melody(scene.melody.mood), muted=("speech", "effects", "ambience"))
    prompt = words.say(
        ("{who} {does} {place}.", "{place}, {who} {does}."),
        ("{who}{place}{does}。", "{place}，{who}{does}。"),
        who=words.a(scene.subjects[0]), does=words.does(scene.subjects[0]), place=words.place(scene),
    )  # fmt: skip
    told = words.part(
        ("music like @Audio-0", "a tune in the mood of @Audio-0", "the theme of @Audio-0"),
        ("像@Audio-0那样的音乐", "与@Audio-0同样情绪的旋律", "@Audio-0的主题音乐"),
    )
    prompt = words.with_sounds(prompt, scene, music=told)
    return draw.example(prompt, scene, references=(draw.sound("Audio-0", theme),))


# -- kinds of sound ---------------------------------------------------------------------------------------------------


def sounds_switched(draw: Draw) -> Example:
    """A scene with music and a voice or hits, of which some are not wanted."""
    scene = draw.scene(lambda each: bool(_audible(replace(each, melody=None))))
    scene = replace(scene, melody=draw.melody())
    audible = _audible(scene)
    wanted = draw.rng.choice([each for each in _CHOICES if audible & set(each) and audible - set(each)])
    muted = tuple(kind for kind in SWITCHED if kind not in wanted)
    if "effects" in muted:
        muted = (*muted, "ambience")
    caption = draw.words.caption(scene)
    if caption[-1] not in ".。>":
        caption += "。" if draw.words.chinese else "."
    prompt = f"{caption} {sentence(wanted, draw.words.language)}"
    return draw.example(prompt, replace(scene, muted=muted))


_CHOICES = (*((kind,) for kind in SWITCHED), *combinations(SWITCHED, 2))


def _audible(scene: Scene) -> set[str]:
    found = {"music"} if scene.melody is not None else set()
    if any(subject.speech is not None for subject in scene.subjects):
        found.add("speech")
    if contacts(scene):
        found.add("effects")
    return found
