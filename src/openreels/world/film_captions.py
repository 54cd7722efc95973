"""What one would say of a film: a sentence on its first shot, then one on every cut, in English and Chinese.

Wordings are drawn at random, as in `captions`, whose words for things and places are used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

from openreels.world.captions import (
    _COLOUR_EN,
    _COLOUR_ZH,
    _KIND_EN,
    _KIND_ZH,
    _PLACE_EN,
    _PLACE_ZH,
    _pick,
    _sentence,
    captions,
)
from openreels.world.films import Film, Shot
from openreels.world.script import Scene

__all__ = ["FilmCaptions", "cut_captions", "film_captions"]


@dataclass(frozen=True, slots=True)
class FilmCaptions:
    """Both languages of one film's caption."""

    en: str
    zh: str


# The plain wording comes first; {who} is what the new shot shows.
_CUT_EN = {
    "cut-in": (
        "the camera cuts in to {who}",
        "the camera cuts in to a close-up of {who}",
        "we see {who} up close",
        "the film cuts closer to {who}",
    ),
    "cut-out": (
        "the camera cuts out to a wide shot of {who}",
        "the film cuts out and shows {who} from further away",
        "we see {who} in a wide view",
    ),
    "multi-angle": (
        "the camera cuts to another angle of {who}",
        "we see {who} from the other side",
        "the film shows {who} from a different angle",
    ),
    "shot-reverse-shot": (
        "the camera cuts to {who} opposite",
        "in the reverse shot {who} answers",
        "the film cuts to {who} on the other side of the conversation",
    ),
    "cut-away": ("the camera cuts away to {who}", "the film cuts away and shows {who}", "elsewhere we see {who}"),
}
_CUT_ZH = {
    "cut-in": ("镜头切近到{who}", "镜头切到{who}的特写", "画面切近{who}"),
    "cut-out": ("镜头切远，露出{who}的全景", "镜头切到{who}的远景", "画面切到全景，显出{who}"),
    "multi-angle": ("镜头切到{who}的另一个角度", "镜头换一个角度拍摄{who}", "画面从另一侧显示{who}"),
    "shot-reverse-shot": ("镜头切到对面的{who}", "反打镜头里是{who}在回答", "镜头反打到{who}"),
    "cut-away": ("镜头切到别处的{who}", "画面转向{who}", "镜头切走，转而拍摄{who}"),
}
_THEN_EN = ("then", "next,", "after that,")
_THEN_ZH = ("然后", "接着", "随后")
_NOBODY_EN = ("the empty place", "the surroundings", "the place with nobody in it")
_NOBODY_ZH = ("空荡荡的四周", "周围的景色")


def _in_view(shot: Shot) -> Scene:
    """The scene with those subjects only that the shot shows; two that collide stay together."""
    subjects = shot.scene.subjects
    kept = [i for i in range(len(subjects)) if i in shot.seen or (shot.seen and subjects[i].motion.kind == "collide")]
    return replace(shot.scene, subjects=tuple(subjects[i] for i in kept[:2]))


def _who_en(rng: Random, before: Shot, after: Shot) -> str:
    things = [after.scene.subjects[index] for index in after.seen]
    named = [f"the {_pick(rng, _COLOUR_EN[each.colour])} {_pick(rng, _KIND_EN[each.kind])}" for each in things]
    who = " and ".join(named) or _pick(rng, _NOBODY_EN)
    moved = after.scene.background != before.scene.background
    return f"{who} {_pick(rng, _PLACE_EN[after.scene.background])}" if moved else who


def _who_zh(rng: Random, before: Shot, after: Shot) -> str:
    things = [after.scene.subjects[index] for index in after.seen]
    named = [f"{_pick(rng, _COLOUR_ZH[each.colour])}的{_pick(rng, _KIND_ZH[each.kind])}" for each in things]
    who = "和".join(named) or _pick(rng, _NOBODY_ZH)
    moved = after.scene.background != before.scene.background
    return f"{_pick(rng, _PLACE_ZH[after.scene.background])}的{who}" if moved else who


def _cuts_en(rng: Random, film: Film) -> list[str]:
    told = []
    for kind, (before, after) in zip(film.cuts, pairwise(film.shots), strict=True):
        cut = _pick(rng, _CUT_EN[kind]).format(who=_who_en(rng, before, after))
        told.append(_sentence(f"{_pick(rng, _THEN_EN)} {cut}"))
    return told


def _cuts_zh(rng: Random, film: Film) -> list[str]:
    told = []
    for kind, (before, after) in zip(film.cuts, pairwise(film.shots), strict=True):
        cut = _pick(rng, _CUT_ZH[kind]).format(who=_who_zh(rng, before, after))
        told.append(f"{_pick(rng, _THEN_ZH)}，{cut}。")
    return told


def _told(film: Film, seed: int, en: list[str], zh: list[str]) -> FilmCaptions:
    rngs = (Random(f"openreels film caption {form} {film.seed} {seed}") for form in ("en", "zh"))
    return FilmCaptions(
        " ".join([*en, *_cuts_en(next(rngs), film)]),
        "".join([*zh, *_cuts_zh(next(rngs), film)]),
    )


def film_captions(film: Film, seed: int) -> FilmCaptions:
    """Captions that name every cut, worded at random; a function of the film and the seed."""
    opening = captions(_in_view(film.shots[0]), seed)
    return _told(film, seed, [opening.short_en.rstrip(".") + "."], [opening.short_zh.rstrip("。") + "。"])


def cut_captions(film: Film, seed: int) -> FilmCaptions:
    """As `film_captions`, the cuts alone: how a clip that is there already goes on."""
    return _told(film, seed, [], [])
