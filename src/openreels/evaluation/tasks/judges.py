"""A judge for every row: what its success is, and yes or no for a clip. Criteria are stated in `says`.

A judge is made ready for a case once, then asked about any number of clips of it. It answers with the parts of its
judgement by name; a clip succeeds when all of them are right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from openreels.evaluation.hearing import Heard
from openreels.evaluation.oracle import LAST_MOMENT, contact_matches, listen, look, merged
from openreels.evaluation.tasks import cuts, pictures, sounds
from openreels.evaluation.tasks.cases import Case, held_frames, kept_frames
from openreels.evaluation.tasks.nearest import ExactPair
from openreels.media import Clip
from openreels.world import CUTS, Film, Scene, contacts
from openreels.world.script import OVERLAYS

__all__ = ["JUDGES", "Judge", "Parts"]

Parts = dict[str, bool]
Ready = Callable[[Clip], Parts]


@dataclass(frozen=True)
class Judge:
    """says: what a success is. of: makes the judge ready for a case. applies: to which cases; by default to all."""

    says: str
    of: Callable[[Case], Ready]
    applies: Callable[[Case], bool] = lambda case: True


def _scene(case: Case) -> Scene:
    return case.example.target.shots[0].scene


def _new_frames(case: Case) -> list[int]:
    """Those that are not given."""
    given = kept_frames(case.example, len(case.target.frames), float(case.target.fps))
    return [t for t in range(len(case.target.frames)) if t not in given]


def _truth(case: Case):
    return pictures.truth_of(_scene(case), len(case.target.frames), float(case.target.fps))


# -- exact pairs ------------------------------------------------------------------------------------------------------


def _edited(case: Case) -> Ready:
    return ExactPair(case.example.source, case.example.target, case.target).judge


def _unfolded(case: Case) -> Ready:
    """The effect over a clip whose motion is free: the alternatives are the other effects, and none."""
    target = case.example.target
    plain = Film(target.seed, tuple(replace(s, scene=replace(s.scene, effect=None)) for s in target.shots), target.cuts)
    return ExactPair(plain, target, case.target).judge


def _inpainted(case: Case) -> Ready:
    """In a mask that follows the subjects their way is given by it; else it is free."""
    return _edited(case) if case.example.region.moving else _shown(case)


# -- pictures ---------------------------------------------------------------------------------------------------------


def _shown(case: Case) -> Ready:
    scene = _scene(case)
    return lambda clip: pictures.subjects(scene, look(clip))


def _told(case: Case) -> Ready:
    scene = _scene(case)

    def judge(clip: Clip) -> Parts:
        sight = look(clip)
        return pictures.subjects(scene, sight) | pictures.place(scene, sight)

    return judge


def _told_and_heard(case: Case) -> Ready:
    seen, scene = _told(case), _scene(case)
    return lambda clip: seen(clip) | sounds.as_told(scene, listen(clip))


def _animated(case: Case) -> Ready:
    scene, true, frames = _scene(case), _truth(case), _new_frames(case)

    def judge(clip: Clip) -> Parts:
        sight = look(clip)
        return pictures.subjects(scene, sight) | pictures.moves(scene, sight, true, frames)

    return judge


def _between(case: Case) -> Ready:
    scene, true, frames = _scene(case), _truth(case), _new_frames(case)
    held = held_frames(case.example, len(case.target.frames), float(case.target.fps))

    def judge(clip: Clip) -> Parts:
        sight = look(clip)
        seen = pictures.subjects(scene, sight) | pictures.moves(scene, sight, true, frames)
        return seen | pictures.on_its_way(scene, sight, true, frames, [held[t] for t in frames])

    return judge


def _is_plain(case: Case) -> bool:
    """The oracle knows things and places in plain drawing, by natural light, without hats or stripes, and talk."""
    scene = _scene(case)
    dressed = any(each.accessory is not None or each.pattern != "plain" for each in scene.subjects)
    look = scene.weather, scene.style, scene.tone, scene.effect, scene.overlay
    return not dressed and not sounds.sings(scene) and look == ("clear", "plain", "natural", None, None)


def _has_life(case: Case) -> bool:
    """Something moves or talks where nothing is given, and is seen plainly."""
    if not _is_plain(case):
        return False
    true, frames = _truth(case), _new_frames(case)
    return any(pictures.lives(true, index, frames) for index in range(len(true.subjects)))


def _mimics(case: Case) -> Ready:
    """The way of a clip, by the subjects and at the place that pictures show or the prompt tells."""
    scene, true = _scene(case), _truth(case)
    frames = range(len(case.target.frames))
    seen = _told(case)

    def judge(clip: Clip) -> Parts:
        sight = look(clip)
        return seen(clip) | pictures.on_its_way(scene, sight, true, frames)

    return judge


def _expression(case: Case) -> Ready:
    scene, said = _scene(case), _truth(case).subjects[0].mouth

    def judge(clip: Clip) -> Parts:
        sight = look(clip)
        return pictures.subjects(scene, sight) | {"mouth": pictures.mouth_follows(sight.mouth_T, said)}

    return judge


# -- several shots ----------------------------------------------------------------------------------------------------


def _cut(case: Case) -> Ready:
    return cuts.Continuation(case.example.target, case.target).judge


def _story(case: Case) -> Ready:
    return cuts.Story(case.example.target, case.target).judge


def _panels(case: Case) -> Ready:
    return cuts.Panels(case.example.target, case.target).judge


# -- sound ------------------------------------------------------------------------------------------------------------


def _heard(part: Callable[[Scene, Heard], Parts]) -> Callable[[Case], Ready]:
    return lambda case: lambda clip: part(_scene(case), listen(clip))


def _sounds(part: Callable[[Scene, Clip], Parts]) -> Callable[[Case], Ready]:
    return lambda case: lambda clip: part(_scene(case), clip)


def _driven_face(case: Case) -> Ready:
    said = _truth(case).subjects[0].mouth

    def judge(clip: Clip) -> Parts:
        return {"mouth": pictures.mouth_follows(look(clip).mouth_T, said)}

    return judge


ENOUGH = 0.7  # share of the contacts that must be met within 80 ms
IDLE = 0.5  # further ones, as a share, that may be without any


def _in_time(true: tuple[float, ...], found: tuple[float, ...]) -> bool:
    """Most contacts are met, each by a time of its own, and there are not many more."""
    return contact_matches(true, found) >= ENOUGH * len(true) and len(found) <= len(true) * (1.0 + IDLE) + 1.0


def _driven_impacts(case: Case) -> Ready:
    true = _contacts(case)
    return lambda clip: {"contacts": _in_time(true, look(clip).contacts)}


def _contacts(case: Case) -> tuple[float, ...]:
    """True times, those that sound as one taken for one; without the last moment, of which nothing is left."""
    end = len(case.target.frames) / float(case.target.fps)
    return merged([contact.time for contact in contacts(_scene(case)) if 0.0 <= contact.time < end - LAST_MOMENT])


def _soundtrack(case: Case) -> Ready:
    true = _contacts(case)
    talkers = [subject.mouth for subject in _truth(case).subjects if subject.mouth]

    def judge(clip: Clip) -> Parts:
        heard = listen(clip)
        parts = {}
        if true:
            parts["contacts"] = _in_time(true, tuple(impact.time for impact in heard.impacts))
        if talkers:
            parts["voice"] = heard.voice.present and pictures.mouth_follows(heard.voice.loudness_T, talkers[0])
        return parts

    return judge


def _conversation(case: Case) -> Ready:
    scene = _scene(case)

    def judge(clip: Clip) -> Parts:
        sight = look(clip)
        return pictures.colours(scene, sight) | pictures.turns(scene, sight, clip.frames)

    return judge


# -- rows -------------------------------------------------------------------------------------------------------------

_CHANGED = "nearest to the true film among its alternatives and the source; the rest as it was (RMS 30 of 255)"
_SUBJECTS = "all subjects in the right number, colour and kind"
_BETWEEN = f"{_SUBJECTS}; they move, and are where they truly are (median within 0.12, and nearer than held still)"
_CUT = "a cut of the asked kind where the kept part ends; behind it the right colours and place"

_PAIR = Judge(_CHANGED, _edited)
_INPAINT = Judge(f"mask that moves: {_CHANGED}; mask that stands: {_SUBJECTS}", _inpainted, _is_plain)
_KEY = Judge(_BETWEEN, _between, _has_life)
_REFERENCES = Judge(f"{_SUBJECTS}, and the place, which are told or shown", _told, _is_plain)

JUDGES: dict[str, Judge] = {
    "t2av": Judge(f"{_SUBJECTS}, the place, voice, material and music as told", _told_and_heard, _is_plain),
    "t2i": Judge(f"{_SUBJECTS}, the place", _told, _is_plain),
    "t2a-speech": Judge("the right voice of two", _heard(sounds.voice)),
    "t2a-effects": Judge("impacts of the right material of four", _heard(sounds.material)),
    "t2a-music": Judge("a music box of the right mood of two", _sounds(sounds.mood)),
    "t2a-singing": Judge("a voice that sings, the right one of two", _sounds(sounds.sung)),
    "first-frame": Judge(f"{_SUBJECTS}; they move", _animated, _has_life),
    "last-frame": Judge(f"{_SUBJECTS}; they move", _animated, _has_life),
    "first-and-last-frame": _KEY,
    "key-frames": _KEY,
    "retake": _KEY,
    "extension": Judge(f"{_SUBJECTS}; they go on moving", _animated, _has_life),
    **{f"extension-{kind}": Judge(_CUT, _cut) for kind in CUTS},
    **{f"references-{count}": _REFERENCES for count in range(1, 5)},
    "storyboard": Judge("as many shots as panels tell, each nearer to its own than to 8 other films'", _panels),
    "motion-reference": Judge(f"{_SUBJECTS}, the place, the clip's way (median within 0.12)", _mimics, _is_plain),
    "expression-reference": Judge(
        f"{_SUBJECTS}; the mouth opens as in the clip (correlation 0.5)", _expression, _is_plain
    ),
    "background-and-clip": Judge(f"{_SUBJECTS}, the place, the clip's way (median within 0.12)", _mimics, _is_plain),
    "effect-reference": Judge("nearest to the film under this effect among all effects and none", _unfolded),
    "inpaint-subject": _INPAINT,
    "inpaint-attribute": _INPAINT,
    "inpaint-background": _PAIR,
    "inpaint-moving": _INPAINT,
    "inpaint-reference": _INPAINT,
    "inpaint-two-references": _INPAINT,
    **{f"remove-{what}": _PAIR for what in (*OVERLAYS, "subject")},
    "add-subject": Judge(_SUBJECTS, _shown, _is_plain),
    **dict.fromkeys(("replace-subject", "recolour", "repattern", "accessory", "edit-background"), _PAIR),
    **dict.fromkeys(("style", "camera", "weather", "night", "tone"), _PAIR),
    "sound-to-speech": Judge("the mouth opens with the given voice (correlation 0.5)", _driven_face, _is_plain),
    "sound-to-impacts": Judge("70% of the given hits are seen within 80 ms, few others", _driven_impacts, _is_plain),
    "video-to-sound": Judge("70% of the contacts are heard within 80 ms, few others; the voice follows", _soundtrack),
    "voice-reference": Judge("the right voice of two", _heard(sounds.voice)),
    "music-reference": Judge("a music box of the right mood of two", _sounds(sounds.mood)),
    "sounds-switched": Judge("of speech, effects and music what is wanted and nothing else", _heard(sounds.switched)),
    "speakers": Judge(
        "two of the right colours; the mouth of the one whose turn it is moves more", _conversation, _is_plain
    ),
    "multi-shot": Judge(
        "the cuts that are told, the first of its kind; in every shot the right colours and place", _story
    ),
}
