"""What an edit might have made instead: the right film with one changed thing drawn in every other way.

Source and target of an exact pair differ in what the edit is about and in nothing else. So the alternatives follow from
the two films, whatever the task is called: a subject that became red might have become each of the other colours, or
have stayed as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from openreels.world import BACKGROUNDS, COLOURS, FACES, SHAPES, Film, Scene, Subject
from openreels.world.camera import CAMERA_MOVES, CameraMove
from openreels.world.script import ACCESSORIES, EFFECTS, PATTERNS, STYLES, TONES, WEATHERS

__all__ = ["Alternative", "alternatives"]

_OF_SCENES: Mapping[str, tuple[Any, ...]] = {
    "background": BACKGROUNDS,
    "night": (False, True),
    "weather": WEATHERS,
    "style": STYLES,
    "tone": TONES,
    "effect": (None, *EFFECTS),
}
_OF_SUBJECTS: Mapping[str, tuple[Any, ...]] = {
    "colour": tuple(COLOURS),
    "pattern": PATTERNS,
    "accessory": (None, *ACCESSORIES),
}
VARIANTS = (0, 128)  # added to a place's own: nothing in a prompt says which hills or houses stand there
AMOUNTS = {"pan": (0.28, 0.35, 0.42), "zoom": (1.4, 1.6, 1.8)}  # of a camera move: how far, no instruction says


@dataclass(frozen=True)
class Alternative:
    """label: what is shown; alternatives with one label differ in what is not asked. right: shows what was asked."""

    label: str
    film: Film
    right: bool = False


def _with_scenes(film: Film, change: Callable[[Scene], Scene]) -> Film:
    return replace(film, shots=tuple(replace(shot, scene=change(shot.scene)) for shot in film.shots))


def _with_subject(film: Film, index: int, **changes: Any) -> Film:
    def change(scene: Scene) -> Scene:
        subjects = list(scene.subjects)
        subjects[index] = replace(subjects[index], **changes)
        return replace(scene, subjects=tuple(subjects))

    return _with_scenes(film, change)


def _kinds(subject: Subject) -> tuple[str, ...]:
    """Kinds it could have instead: faces do not move."""
    return FACES if subject.is_face else SHAPES


def _scene_changes(source: Scene, target: Scene, film: Film) -> Iterator[tuple[str, Film, bool]]:
    for name, values in _OF_SCENES.items():
        right = getattr(target, name)
        if getattr(source, name) == right:
            continue
        for value in values:
            made = _with_scenes(film, lambda scene, name=name, value=value: replace(scene, **{name: value}))
            for shift in VARIANTS if name == "background" else (0,):
                shifted = _with_scenes(made, lambda s, shift=shift: replace(s, variant=(s.variant + shift) % 256))
                yield f"{name} {value}", shifted, value == right


def _subject_changes(source: Scene, target: Scene, film: Film) -> Iterator[tuple[str, Film, bool]]:
    if len(source.subjects) != len(target.subjects):
        return  # one is gone: the only alternative is that it is still there
    for index, (before, right) in enumerate(zip(source.subjects, target.subjects, strict=True)):
        for name, values in ({"kind": _kinds(right)} | dict(_OF_SUBJECTS)).items():
            wanted = getattr(right, name)
            if getattr(before, name) != wanted:
                for value in values:
                    yield f"{name} {value}", _with_subject(film, index, **{name: value}), value == wanted


def _moves(source: Film, target: Film) -> Iterator[tuple[str, Film, bool]]:
    right = target.shots[0].move
    if source.shots[0].move == right or right is None:
        return
    for kind in CAMERA_MOVES:
        for amount in AMOUNTS["pan" if kind.startswith("pan") else "zoom"]:
            shot = replace(target.shots[0], move=CameraMove(kind, amount))
            yield f"camera {kind}", replace(target, shots=(shot, *target.shots[1:])), kind == right.kind


def alternatives(source: Film, target: Film) -> tuple[Alternative, ...]:
    """The target first, then the source as it is, then every other way of each thing in which the two differ."""
    first, second = source.shots[0].scene, target.shots[0].scene
    found = [Alternative("as asked", target, right=True), Alternative("as it was", source)]
    for changes in (
        _scene_changes(first, second, target),
        _subject_changes(first, second, target),
        _moves(source, target),
    ):
        found += [Alternative(label, film, right) for label, film, right in changes if film != target]
    return tuple(found)
