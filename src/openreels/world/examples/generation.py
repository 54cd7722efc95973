"""Rows that make a clip from words, and from frames of it: text to everything, key frames, extension, retake."""

from __future__ import annotations

from dataclasses import replace

from openreels.world.examples.draw import FPS, Draw, is_single
from openreels.world.examples.example import Example
from openreels.world.motion import contacts
from openreels.world.sampling import sample_singing
from openreels.world.script import Scene

__all__ = [
    "effects",
    "extension",
    "first_and_last_frame",
    "first_frame",
    "key_frames",
    "last_frame",
    "music",
    "picture",
    "retake",
    "singing",
    "speech",
    "with_sound",
]

SONG_SHARE = 0.08  # of clips from words
EXTENDED = 13  # frames that an extension starts from: whole latent frames


def with_sound(draw: Draw) -> Example:
    """Any scene; sometimes somebody sings."""
    if draw.rng.random() < SONG_SHARE:
        scene = draw.dressed(_song(draw), plain=False)
    else:
        scene = draw.scene(plain=False)
    return draw.example(draw.words.caption(scene), scene)


def picture(draw: Draw) -> Example:
    """A moment of a scene, as a film of one frame."""
    scene, moment = draw.scene(plain=False), draw.moment()
    film = draw.film(scene)
    still = replace(film.shots[0], start=moment, duration=1 / FPS)
    return draw.example(draw.words.caption(scene), replace(film, shots=(still,)))


# -- sound alone ------------------------------------------------------------------------------------------------------


def speech(draw: Draw) -> Example:
    words = draw.words
    scene = draw.scene(lambda each: is_single(each) and each.subjects[0].is_face and each.melody is None)
    if draw.rng.random() < 0.4:
        return draw.example(words.caption(scene), scene)
    told = words.spoken(scene.subjects[0].speech.voice)
    prompt = f"{words.tagged('sfx', words.ambience(scene))} {words.tagged('dialogue', told)}"
    return draw.example(prompt, scene)


def effects(draw: Draw) -> Example:
    words = draw.words
    scene = draw.scene(lambda each: is_single(each) and bool(contacts(each)) and each.melody is None)
    subject = scene.subjects[0]
    if draw.rng.random() < 0.4:
        return draw.example(words.caption(scene), scene)
    told = words.part(
        ("the sound of {thing} that {does} {place}: {impact}", "{impact}: {thing} {does} {place}"),
        ("{place}{thing}{does}的声音：{impact}", "{impact}，{place}{thing}{does}"),
        thing=words.a(subject),
        does=words.does(subject),
        impact=words.impact(subject.material),
        place=words.place(scene),
    )  # fmt: skip
    return draw.example(words.tagged("sfx", told), scene)


def music(draw: Draw) -> Example:
    scene = replace(draw.scene(), melody=draw.melody())
    told = draw.words.music(scene.melody.mood)
    is_tagged = draw.rng.random() < 0.6
    prompt = draw.words.tagged("bgm", told) if is_tagged else draw.words.say("{told}.", "{told}。", told=told)
    return draw.example(prompt, replace(scene, muted=("speech", "effects", "ambience")))


def singing(draw: Draw) -> Example:
    words, scene = draw.words, _song(draw)
    if draw.rng.random() < 0.4:
        return draw.example(words.caption(scene), scene)
    told = words.part(
        ("a {voice} voice sings a tune", "somebody sings in a {voice} voice", "singing in a {voice} voice"),
        ("{voice}的声音唱着一支曲子", "有人用{voice}的声音唱歌"),
        voice=words.voice(scene.subjects[0].speech.voice),
    )
    prompt = f"{words.tagged('sfx', words.ambience(scene))} {words.tagged('singing', told)}"
    return draw.example(prompt, scene)


def _song(draw: Draw) -> Scene:
    seed = draw.rng.randrange(2**31)
    return sample_singing(seed, duration=draw.duration, aspect=draw.aspect, split=draw.split)


# -- frames that are known --------------------------------------------------------------------------------------------


def _frame(index: int) -> tuple[float, float]:
    return index / FPS, (index + 1) / FPS


def _from_frames(draw: Draw, *indices: int) -> Example:
    scene = draw.scene(plain=False)
    return draw.example(draw.words.caption(scene), scene, kept=tuple(_frame(index) for index in indices))


def first_frame(draw: Draw) -> Example:
    return _from_frames(draw, 0)


def last_frame(draw: Draw) -> Example:
    return _from_frames(draw, draw.frames - 1)


def first_and_last_frame(draw: Draw) -> Example:
    return _from_frames(draw, 0, draw.frames - 1)


def key_frames(draw: Draw) -> Example:
    """Two to four, at least a quarter of a second apart."""
    frames, apart = draw.frames, FPS // 4
    count = min(draw.rng.randint(2, 4), (frames - 1) // apart + 1)
    # Drawn closer together, then moved apart.
    places = sorted(draw.rng.sample(range(frames - (count - 1) * (apart - 1)), count))
    return _from_frames(draw, *(place + i * (apart - 1) for i, place in enumerate(places)))


def extension(draw: Draw) -> Example:
    scene = draw.scene(plain=False)
    return draw.example(draw.words.caption(scene), scene, kept=((0.0, EXTENDED / FPS),))


def retake(draw: Draw) -> Example:
    """All but a span of a clip is kept: a third to a half of it, somewhere in its middle."""
    scene, frames = draw.scene(plain=False), draw.frames
    length = draw.rng.randint(frames // 3, frames // 2)
    begin = draw.rng.randint(4, max(frames - length - 4, 4))
    kept = ((0.0, begin / FPS), ((begin + length) / FPS, draw.duration))
    return draw.example(draw.words.caption(scene), scene, kept=kept)
