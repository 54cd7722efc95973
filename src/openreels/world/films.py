"""Films: scenes seen in several shots, with the kind of every cut; and how such a film is drawn at random.

A film has one story time: what moves goes on moving over a cut. Lengths in short sides of the safe window, times in
seconds, as in `script`. Kinds of cuts:

=================  =================================================================================
cut-in             the same place at the same moment, closer to the subject
cut-out            the same, from further away
multi-angle        the same subject and place from another side
shot-reverse-shot  of two who face each other, the view goes from one to the other
cut-away           to something else: another subject, the place without any, or another place
=================  =================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, count
from random import Random
from typing import Any

import numpy as np

from openreels.world.camera import Camera, CameraMove
from openreels.world.motion import tracks
from openreels.world.sampling import Split, sample_scene
from openreels.world.script import Scene, Speech, Subject

__all__ = ["CUTS", "Film", "Shot", "sample_film"]

CUTS = ("cut-in", "cut-out", "multi-angle", "shot-reverse-shot", "cut-away")

SHORTEST, LONGEST = 0.8, 1.8  # seconds of a shot
SINGLE_SHARE = 0.2  # of films that nobody asked a cut of
NEAREST, FARTHEST = 2.8, 0.5  # zooms
LEAP = (1.45, 2.4)  # ratio of the zooms of a cut-in or a cut-out
SIMILAR = (0.8, 1.25)  # ratio of the zooms of a view from another side
SEEN = 0.5  # a subject is seen in a shot that shows its centre for this share of its time
SAMPLES = 9  # times at which a shot is asked for what it shows
WINGS = 1.9  # widths from the middle of the stage to where another subject waits, out of view


@dataclass(frozen=True, slots=True)
class Shot:
    """One take. start: its first moment in the scene's own time, seconds. duration: seconds. move: of the camera, None
    where it stands still."""

    scene: Scene
    camera: Camera
    start: float
    duration: float
    move: CameraMove | None = None

    @property
    def seen(self) -> tuple[int, ...]:
        """Which subjects it shows, as their indices in the scene."""
        times = [self.start + (i + 0.5) / SAMPLES * self.duration for i in range(SAMPLES)]
        path = tracks(self.scene, times)
        half_width, half_height = self.scene.width * 0.5, self.scene.height * 0.5
        shares = [(i + 0.5) / SAMPLES for i in range(SAMPLES)]
        views = [self.camera if self.move is None else self.move.at(self.camera, share) for share in shares]
        found = []
        for index in range(len(self.scene.subjects)):
            places = zip(views, path.x_NT[index], path.y_NT[index], strict=True)
            x_T, y_T = np.array([view.to_view(x, y) for view, x, y in places]).T
            if ((abs(x_T) < half_width) & (abs(y_T) < half_height)).mean() >= SEEN:
                found.append(index)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Film:
    """Shots in order and the kinds of the cuts between them, one fewer. seed: what it was drawn from."""

    seed: int
    shots: tuple[Shot, ...]
    cuts: tuple[str, ...]

    @property
    def duration(self) -> float:
        return sum(shot.duration for shot in self.shots)

    @property
    def cut_times(self) -> tuple[float, ...]:
        """Seconds from the film's start, one of each cut."""
        return tuple(accumulate(shot.duration for shot in self.shots[:-1]))

    @property
    def aspect(self) -> float:
        return self.shots[0].scene.aspect

    def to_json(self) -> str:
        """JSON text; `Film.from_json` of it equals this film exactly."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Film:
        data: dict[str, Any] = json.loads(text)
        shots = tuple(
            Shot(
                Scene.from_dict(shot["scene"]),
                Camera(**shot["camera"]),
                shot["start"],
                shot["duration"],
                CameraMove(**shot["move"]) if shot["move"] is not None else None,
            )
            for shot in data["shots"]
        )
        return cls(data["seed"], shots, tuple(data["cuts"]))


# -- the stage --------------------------------------------------------------------------------------------------------


def _scene(rng: Random, duration: float, aspect: float, split: Split, wanted: str) -> Scene:
    """A scene of `sample_scene`. wanted: "lively", "face" or "shape", which its first subject is."""
    for _ in count():
        scene = sample_scene(rng.randrange(2**31), duration=duration, aspect=aspect, split=split)
        first = scene.subjects[0]
        if {
            "lively": first.motion.kind != "still" or first.is_face,
            "face": first.is_face and len(scene.subjects) == 1,
            "shape": not first.is_face and len(scene.subjects) == 1,
        }[wanted]:
            return scene
    raise AssertionError


def _standing_at(subject: Subject, x: float) -> Subject:
    return replace(subject, motion=replace(subject.motion, x=x))


def _with_wings(rng: Random, scene: Scene, split: Split) -> Scene:
    """The scene with one more subject, out of view at one side: something to cut away to."""
    # A face that follows a face would be taken for its partner in a conversation.
    wanted = "shape" if scene.subjects[0].is_face else rng.choice(("face", "shape"))
    guest = _scene(rng, scene.duration, scene.aspect, split, wanted).subjects[0]
    side = rng.choice((-1.0, 1.0))
    guest = _standing_at(guest, guest.motion.x + side * WINGS * scene.width)
    return replace(scene, subjects=(*scene.subjects, guest))


def _conversation(rng: Random, duration: float, aspect: float, split: Split) -> Scene:
    """Two faces side by side, each out of the other's close view."""
    scene = _scene(rng, duration, aspect, split, "face")
    partner = scene.subjects[0]
    while partner.kind == scene.subjects[0].kind or partner.colour == scene.subjects[0].colour:
        partner = _scene(rng, duration, aspect, split, "face").subjects[0]
    apart = rng.uniform(0.62, 0.8) * scene.width
    speakers = (_standing_at(scene.subjects[0], -apart), _standing_at(partner, apart))
    return replace(scene, subjects=speakers)


def _in_turns(scene: Scene, turns: Sequence[tuple[int, float, float]]) -> Scene:
    """Each speaker of a conversation is silent outside of their turns (subject, start, end)."""
    subjects = []
    for index, subject in enumerate(scene.subjects):
        speech = subject.speech
        if speech is not None:
            mine = [(start, end) for who, start, end in turns if who == index]
            kept = tuple(
                syllable
                for syllable in speech.syllables
                if any(start <= syllable.start and syllable.start + syllable.duration <= end for start, end in mine)
            )
            subject = replace(subject, speech=Speech(speech.voice, speech.pitch, kept))
        subjects.append(subject)
    return replace(scene, subjects=tuple(subjects))


# -- cameras ----------------------------------------------------------------------------------------------------------


def _place(scene: Scene, subject: int, time: float) -> tuple[float, float]:
    path = tracks(scene, [time])
    return float(path.x_NT[subject, 0]), float(path.y_NT[subject, 0])


def _on(rng: Random, scene: Scene, subject: int, time: float, zoom: float, look: Camera, side: float = 0.0) -> Camera:
    """A view of one subject as it is at `time`. look: whose mirroring and turn it has.

    side: where in the picture it should be, -1 at the left to 1 at the right; 0 leaves that open.
    """
    x, y = _place(scene, subject, time)
    half_width, half_height = scene.width * 0.5 / zoom, scene.height * 0.5 / zoom
    radius = scene.subjects[subject].radius
    slack = max(half_width - 1.1 * radius, 0.0)
    shift = (side * rng.uniform(0.35, 0.8) if side else rng.uniform(-0.5, 0.5)) * slack
    # The floor stays in the lower part of the picture where there is room for the subject above it.
    lowest, highest = y - max(half_height - 1.1 * radius, 0.0), y + max(half_height - 1.1 * radius, 0.0)
    wish = scene.floor - rng.uniform(0.5, 0.75) * half_height
    middle = min(max(wish, lowest), highest)
    return replace(look, x=x + (shift if look.mirrored else -shift), y=middle, zoom=zoom)


def _close_zoom(subject: Subject) -> float:
    """The nearest view in which a subject still has its whole outline, or nearly, in the picture."""
    return min(NEAREST, 0.52 / subject.radius)


@dataclass(frozen=True, slots=True)
class _View:
    """What a shot is of. focus: the subject it follows, None for the place alone."""

    scene: Scene
    camera: Camera
    focus: int | None
    talks: bool  # one of two speakers


def _possible(view: _View) -> tuple[str, ...]:
    """Kinds of cuts that may follow."""
    if view.focus is None:
        return ()
    zoom, found = view.camera.zoom, ["multi-angle", "cut-away"]
    if zoom * LEAP[0] <= _close_zoom(view.scene.subjects[view.focus]):
        found.append("cut-in")
    if zoom / LEAP[0] >= FARTHEST:
        found.append("cut-out")
    if view.talks:
        found.append("shot-reverse-shot")
    return tuple(found)


def _next(rng: Random, view: _View, kind: str, time: float, split: Split) -> _View:
    """The view after a cut of this kind at `time` of the story."""
    scene, camera, focus = view.scene, view.camera, view.focus
    if kind == "cut-in":
        zoom = rng.uniform(camera.zoom * LEAP[0], min(camera.zoom * LEAP[1], _close_zoom(scene.subjects[focus])))
        return replace(view, camera=_on(rng, scene, focus, time, zoom, camera))
    if kind == "cut-out":
        zoom = rng.uniform(max(camera.zoom / LEAP[1], FARTHEST), camera.zoom / LEAP[0])
        return replace(view, camera=_on(rng, scene, focus, time, zoom, camera))
    if kind == "multi-angle":
        was, _ = camera.to_view(*_place(scene, focus, time))
        # The room and the beach look the same all round, so only the view from behind is another one.
        mirrored = scene.background in ("room", "beach") or rng.random() < 0.6
        turn = 0 if mirrored and rng.random() < 0.6 else rng.randrange(256)
        look = replace(camera, mirrored=camera.mirrored ^ mirrored, turn=(camera.turn + turn) % 256)
        zoom = min(max(camera.zoom * rng.uniform(*SIMILAR), FARTHEST), NEAREST)
        side = -1.0 if was > 0 else 1.0
        return replace(view, camera=_on(rng, scene, focus, time, zoom, look, side))
    if kind == "shot-reverse-shot":
        other = 1 - focus
        look = replace(camera, turn=rng.randrange(256))
        zoom = camera.zoom * rng.uniform(0.87, 1.15)
        # Each leaves room on the side of the one they look at.
        side = (1.0 if scene.subjects[other].motion.x > 0 else -1.0) * (-1.0 if camera.mirrored else 1.0)
        return replace(view, camera=_on(rng, scene, other, time, zoom, look, side), focus=other)
    return _elsewhere(rng, view, time, split)


def _elsewhere(rng: Random, view: _View, time: float, split: Split) -> _View:
    """What a cut-away goes to: a subject in the wings, the empty place, or a scene somewhere else."""
    scene, camera = view.scene, view.camera
    draw = rng.random()
    waiting = [i for i, each in enumerate(scene.subjects) if abs(each.motion.x) > WINGS * 0.5 * scene.width]
    if draw < 0.45 and waiting and view.focus not in waiting:
        guest = waiting[0]
        zoom = rng.uniform(0.8, 1.3)
        return _View(scene, _on(rng, scene, guest, time, zoom, camera), guest, False)
    if draw < 0.7:
        # Beyond the middle of the stage, on the side without a guest.
        side = -1.0 if waiting and scene.subjects[waiting[0]].motion.x > 0 else 1.0
        zoom = rng.uniform(0.8, 1.6)
        x = side * scene.width * rng.uniform(2.0, 3.0)
        y = scene.floor - rng.uniform(0.1, 0.6) * scene.height * 0.5 / zoom
        return _View(scene, replace(camera, x=x, y=y, zoom=zoom), None, False)
    other = scene
    while other.background == scene.background:
        other = _scene(rng, scene.duration, scene.aspect, split, "lively")
    return _View(other, Camera(zoom=rng.uniform(0.85, 1.0)), 0, False)


def _opening(rng: Random, scene: Scene, first: str | None, talks: bool) -> _View:
    """The first view, such that a first cut of this kind may follow."""
    focus = rng.randrange(2) if talks else 0
    nearest = _close_zoom(scene.subjects[focus])
    if first == "cut-in":
        zoom = rng.uniform(0.6, min(1.0, nearest / LEAP[0]))
    elif first == "cut-out":
        zoom = min(rng.uniform(1.2, 2.4), nearest)
    elif talks:
        zoom = rng.uniform(0.95, 1.3)
    elif first is None:
        zoom = rng.uniform(0.8, 1.1)
    else:
        zoom = rng.uniform(0.75, min(1.5, nearest))
    # Room for the eyes: the speaker on the left looks to the right.
    side = 0.0 if not talks else 1.0 if scene.subjects[focus].motion.x > 0 else -1.0
    return _View(scene, _on(rng, scene, focus, 0.2, zoom, Camera(turn=0), side), focus, talks)


# -- films ------------------------------------------------------------------------------------------------------------


def _draw_cuts(rng: Random) -> list[str]:
    """What a film may be asked for: no cut, or up to three, the first ones of all kinds alike."""
    if rng.random() < SINGLE_SHARE:
        return []
    return [rng.choice(CUTS)] + [""] * rng.randrange(3)


def sample_film(seed: int, *, cuts: Sequence[str] | None = None, aspect: float = 1.0, split: Split = "train") -> Film:
    """One random film, a function of its arguments alone.

    cuts: kinds of the wanted cuts in order, each of `CUTS` or "" for any that fits; () for one shot; None for a random
    number of them. A wanted kind that cannot follow (nothing is nearer than a close view) is replaced by one that can;
    after a view of the empty place the film ends. The first one is always as wanted. aspect: width / height. split: of
    the scenes, as in `sample_scene`.
    Raises ValueError for a kind that is none of `CUTS`.
    """
    for kind in cuts or ():
        if kind and kind not in CUTS:
            raise ValueError(f"a cut must be one of {', '.join(CUTS)}, not {kind!r}")
    for attempt in count():
        rng = Random(f"openreels film 1 {split} {seed} {attempt}")
        views, shots, kinds = _drawn(rng, _draw_cuts(rng) if cuts is None else list(cuts), aspect, split)
        if all(_holds(view, shot) for view, shot in zip(views, shots, strict=True)):
            return Film(seed, shots, kinds)
    raise AssertionError


def _holds(view: _View, shot: Shot) -> bool:
    """Whether what a shot is of stays in the picture, and is there at both cuts: what they lead from and to."""
    if view.focus is None:
        return True
    ends = (_place(shot.scene, view.focus, time) for time in (shot.start, shot.start + shot.duration))
    inside = [shot.camera.to_view(*place) for place in ends]
    width, height = shot.scene.width * 0.5, shot.scene.height * 0.5
    return view.focus in shot.seen and all(abs(x) < width and abs(y) < height for x, y in inside)


def _drawn(
    rng: Random, wanted: list[str], aspect: float, split: Split
) -> tuple[list[_View], tuple[Shot, ...], tuple[str, ...]]:
    lengths = [round(rng.uniform(SHORTEST, LONGEST), 3) for _ in range(len(wanted) + 1)]
    if not wanted:
        lengths[0] += 1.0
    duration = sum(lengths)
    talks = "shot-reverse-shot" in wanted or (bool(wanted) and rng.random() < 0.2)
    stage = _conversation(rng, duration, aspect, split) if talks else _scene(rng, duration, aspect, split, "lively")
    if wanted:
        stage = _with_wings(rng, stage, split)

    views, kinds = [_opening(rng, stage, wanted[0] if wanted else None, talks)], []
    starts = [0.0, *accumulate(lengths)]
    for kind, time in zip(wanted, starts[1:], strict=False):
        possible = _possible(views[-1])
        if not possible:
            break
        kinds.append(kind if kind in possible else rng.choice(possible))
        views.append(_next(rng, views[-1], kinds[-1], time, split))
    takes = list(zip(views, starts, lengths, strict=False))
    if talks:
        turns = [(view.focus, start, start + length) for view, start, length in takes]
        guests = [(i, 0.0, duration) for i in range(2, len(stage.subjects))]
        spoken = _in_turns(stage, turns + guests)
        takes = [(replace(v, scene=spoken) if v.scene is stage else v, start, length) for v, start, length in takes]
    shots = tuple(Shot(view.scene, view.camera, start, length) for view, start, length in takes)
    return views, shots, tuple(kinds)
