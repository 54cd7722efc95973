"""Words of the prompts of cases: what captions call things, and sentences in one of two languages.

Slots of sentences are filled with `str.format`. Wordings are drawn as in `captions`: the first, plain one half of the
time.
"""

from __future__ import annotations

from random import Random

from openreels.world.captions import (
    _AMBIENCE_EN,
    _AMBIENCE_ZH,
    _COLOUR_EN,
    _COLOUR_ZH,
    _IMPACT_EN,
    _IMPACT_ZH,
    _KIND_EN,
    _KIND_ZH,
    _MUSIC_EN,
    _MUSIC_ZH,
    _ambience,
    _Detail,
    _noun_en,
    _noun_zh,
    _pick,
    _place_en,
    _place_zh,
    _verb_en,
    _verb_zh,
    captions,
)
from openreels.world.film_captions import cut_captions, film_captions
from openreels.world.films import Film
from openreels.world.script import Scene, Subject

__all__ = ["Words"]

Wordings = str | tuple[str, ...]

_A_PLACE_EN = {
    "meadow": ("a meadow", "a grassy field"),
    "beach": ("a beach", "a coast by the sea"),
    "city": ("a city street", "a city with tall buildings"),
    "room": ("a room", "a living room"),
    "snow": ("a snowy landscape", "snowy mountains"),
    "desert": ("a desert", "a dry sandy desert"),
}
_A_PLACE_ZH = {
    "meadow": ("草地", "草原"),
    "beach": ("海滩", "海边"),
    "city": ("城市街道", "高楼林立的城市"),
    "room": ("房间", "客厅"),
    "snow": ("雪地", "雪山"),
    "desert": ("沙漠", "干旱的沙漠"),
}
_MOOD_EN = {"cheerful": ("cheerful", "happy"), "sad": ("sad", "slow, sad")}
_MOOD_ZH = {"cheerful": ("欢快", "轻快"), "sad": ("忧伤", "悲伤")}
_VOICE_EN = {"low": ("low", "deep"), "high": ("high", "high-pitched")}
_VOICE_ZH = {"low": ("低沉", "浑厚"), "high": ("尖细", "高高")}


class Words:
    """Draws wordings in one language."""

    def __init__(self, rng: Random, chinese: bool) -> None:
        self.rng, self.chinese = rng, chinese

    @property
    def language(self) -> str:
        return "zh" if self.chinese else "en"

    def say(self, en: Wordings, zh: Wordings, **slots: str) -> str:
        """One of the wordings, its slots filled, with a capital first letter."""
        options = zh if self.chinese else en
        text = _pick(self.rng, (options,) if isinstance(options, str) else options).format(**slots)
        return text[0].upper() + text[1:]

    def part(self, en: Wordings, zh: Wordings, **slots: str) -> str:
        """As `say`, within a sentence."""
        options = zh if self.chinese else en
        return _pick(self.rng, (options,) if isinstance(options, str) else options).format(**slots)

    # -- things -------------------------------------------------------------------------------------------------------

    def colour(self, name: str) -> str:
        return _pick(self.rng, (_COLOUR_ZH if self.chinese else _COLOUR_EN)[name])

    def kind(self, name: str) -> str:
        return _pick(self.rng, (_KIND_ZH if self.chinese else _KIND_EN)[name])

    def the(self, subject: Subject) -> str:
        """The red ball."""
        join = "{}的{}" if self.chinese else "the {} {}"
        return join.format(self.colour(subject.colour), self.kind(subject.kind))

    def a(self, subject: Subject) -> str:
        """A small red ball; what it wears is told, its matter sometimes."""
        detail = _Detail(material=self.rng.random() < 0.6, extras=1.0)
        return (_noun_zh if self.chinese else _noun_en)(self.rng, subject, detail)

    def does(self, subject: Subject) -> str:
        """Bounces, talks in a low voice, ..."""
        if subject.motion.kind == "collide":
            return self.part(("collides with the other", "bumps into the other"), ("与另一个相撞", "撞上另一个"))
        return (_verb_zh if self.chinese else _verb_en)(self.rng, subject)

    def place(self, scene: Scene) -> str:
        """In a meadow at night."""
        if self.chinese:
            return "".join(_place_zh(self.rng, scene, _Detail(), False))
        return " ".join(_place_en(self.rng, scene, _Detail()))

    def a_place(self, background: str) -> str:
        """A meadow."""
        return _pick(self.rng, (_A_PLACE_ZH if self.chinese else _A_PLACE_EN)[background])

    def side(self, right: bool) -> str:
        """Of "on the ..."."""
        return ("右边" if right else "左边") if self.chinese else ("right" if right else "left")

    # -- sounds -------------------------------------------------------------------------------------------------------

    def music(self, mood: str) -> str:
        return _pick(self.rng, (_MUSIC_ZH if self.chinese else _MUSIC_EN)[mood])

    def mood(self, mood: str) -> str:
        """Of "a ... tune"."""
        return self.part(_MOOD_EN[mood], _MOOD_ZH[mood])

    def voice(self, voice: str) -> str:
        """Of "a ... voice"."""
        return self.part(_VOICE_EN[voice], _VOICE_ZH[voice])

    def spoken(self, voice: str) -> str:
        """Speech that names no speaker."""
        return self.part(
            ("somebody talks in a {voice} voice", "a {voice} voice speaks", "speech in a {voice} voice"),
            ("有人用{voice}的声音说话", "{voice}的声音在说话"),
            voice=self.voice(voice),
        )

    def impact(self, material: str) -> str:
        return _pick(self.rng, (_IMPACT_ZH if self.chinese else _IMPACT_EN)[material])

    def ambience(self, scene: Scene) -> str:
        return _pick(self.rng, _ambience(_AMBIENCE_ZH if self.chinese else _AMBIENCE_EN, scene))

    def tagged(self, kind: str, text: str) -> str:
        """A part of a structured prompt: <sfx> Birdsong. </sfx>"""
        text = text[0].upper() + text[1:]
        return f"<{kind}> {text}{'。' if self.chinese else '.'} </{kind}>"

    def with_sounds(self, prompt: str, scene: Scene, dialogue: str = "", music: str = "") -> str:
        """Half of the prompts are structured: what is heard besides follows in tags.

        dialogue, music: what is told of these; without, they are left out.
        """
        parts = [prompt]
        if self.rng.random() < 0.5:
            parts.append(self.tagged("sfx", self.ambience(scene)))
            if dialogue:
                parts.append(self.tagged("dialogue", dialogue))
        if music:
            parts.append(self.tagged("bgm", music))
        elif scene.melody is not None:
            parts.append(self.tagged("bgm", self.music(scene.melody.mood)))
        return " ".join(parts)

    # -- captions -----------------------------------------------------------------------------------------------------

    def caption(self, scene: Scene) -> str:
        """Of a scene, any form, in this language."""
        told = captions(scene, self.rng.randrange(2**31))
        if self.chinese:
            return told.short_zh if self.rng.random() < 0.65 else told.structured_zh
        return self.rng.choices((told.short_en, told.long_en, told.structured_en), (55, 20, 25))[0]

    def film_caption(self, film: Film) -> str:
        told = film_captions(film, self.rng.randrange(2**31))
        return told.zh if self.chinese else told.en

    def cuts(self, film: Film) -> str:
        """How a film goes on after its first shot."""
        told = cut_captions(film, self.rng.randrange(2**31))
        return told.zh if self.chinese else told.en
