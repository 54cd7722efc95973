"""What the rows draw their cases with: scenes that fit, films of them, the same subject elsewhere, words.

The train split never shows a held-out triple of (colour, kind, motion), be it in a source or in a reference. In the
held-out split the target holds one: where an edit changes a subject, what it becomes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from itertools import count
from math import ceil
from random import Random

from openreels.world.camera import STRAIGHT, Camera, CameraMove
from openreels.world.dressing import dressed
from openreels.world.examples.example import Example, Reference
from openreels.world.examples.wording import Words
from openreels.world.films import Film, Shot
from openreels.world.motion import tracks
from openreels.world.sampling import Split, held_out, possible_motions, sample_scene
from openreels.world.script import BACKGROUNDS, COLOURS, FACES, MATERIALS, SHAPES, Melody, Scene, Subject

__all__ = ["FPS", "Draw", "is_pair", "is_single", "undressed", "with_subject"]

FPS = 16
CHINESE_SHARE = 0.3
PLAIN = {"weather": "clear", "style": "plain", "tone": "natural", "effect": None, "overlay": None}
CLOSER_SHARE = 0.25  # of reference images
# Moments of reference images lie on a grid (seconds), so that many can be drawn at once.
MOMENT = 0.25


def is_single(scene: Scene) -> bool:
    return len(scene.subjects) == 1


def is_pair(scene: Scene) -> bool:
    """Two subjects that have nothing to do with each other."""
    return len(scene.subjects) == 2 and scene.subjects[0].motion.kind != "collide"


def with_subject(scene: Scene, index: int, subject: Subject) -> Scene:
    return replace(scene, subjects=(*scene.subjects[:index], subject, *scene.subjects[index + 1 :]))


def undressed(scene: Scene) -> Scene:
    """All subjects without accessories and patterns, which a mask would hide."""
    return replace(scene, subjects=tuple(replace(each, accessory=None, pattern="plain") for each in scene.subjects))


class Draw:
    """One case being drawn. rng: of all choices. words: of its prompt, in English or Chinese."""

    def __init__(self, row: str, seed: int, duration: float, aspect: float, split: Split) -> None:
        # Whole latent frames: 4 k + 1.
        self.frames = 4 * ceil((duration * FPS - 1) / 4 - 1e-6) + 1
        self.row, self.seed, self.duration, self.aspect, self.split = row, seed, self.frames / FPS, aspect, split
        self.rng = Random(f"openreels example 1 {row} {split} {seed}")
        self.words = Words(self.rng, chinese=self.rng.random() < CHINESE_SHARE)

    # -- scenes -------------------------------------------------------------------------------------------------------

    def scene(
        self, wanted: Callable[[Scene], bool] = lambda _: True, *, plain: bool = True, split: Split | None = None
    ) -> Scene:
        """A random scene that is as wanted, its subjects sometimes dressed. plain: else it may have weather, a style, a
        tone, an effect and an overlay too. split: None for the case's own."""
        for _ in count():
            seed = self.rng.randrange(2**31)
            scene = sample_scene(seed, duration=self.duration, aspect=self.aspect, split=split or self.split)
            if wanted(scene):
                return self.dressed(scene, plain=plain)
        raise AssertionError

    def dressed(self, scene: Scene, *, plain: bool = True) -> Scene:
        scene = dressed(scene, self.rng.randrange(2**31))
        return replace(scene, **PLAIN) if plain else scene

    def melody(self, mood: str | None = None) -> Melody:
        """A random tune, of any mood where none is given."""

        def has_it(scene: Scene) -> bool:
            return scene.melody is not None and mood in (None, scene.melody.mood)

        return self.scene(has_it, split="train").melody

    def fits(self, subject: Subject, split: Split | None = None) -> bool:
        """Whether a target of this split (None: the case's own) may be about this subject."""
        return held_out(subject.colour, subject.kind, subject.motion.kind) == ((split or self.split) == "held_out")

    def other_place(self, *backgrounds: str) -> str:
        return self.rng.choice([each for each in BACKGROUNDS if each not in backgrounds])

    def variants(
        self, subject: Subject, what: str, taken: Collection[str] = (), split: Split | None = None
    ) -> list[Subject]:
        """What a subject may become, in a random order: another "colour", or a "kind" and colour both others.

        Size, motion and speech stay; another kind is plain. taken: colours of the other subjects. Empty where the split
        has none.
        """
        kinds = FACES if subject.is_face else SHAPES
        found = []
        for colour in COLOURS:
            if colour == subject.colour or colour in taken:
                continue
            for kind in (subject.kind,) if what == "colour" else kinds:
                if what == "kind" and (kind == subject.kind or not self._can(kind, subject.motion.kind)):
                    continue
                changed = replace(subject, colour=colour, kind=kind)
                if what == "kind":
                    material = None if subject.is_face else self.rng.choice(MATERIALS)
                    changed = replace(changed, material=material, accessory=None, pattern="plain")
                if self.fits(changed, split):
                    found.append(changed)
        self.rng.shuffle(found)
        return found

    @staticmethod
    def _can(kind: str, motion: str) -> bool:
        return motion == "collide" or motion in possible_motions(kind)

    # -- films and references -----------------------------------------------------------------------------------------

    def film(self, scene: Scene, camera: Camera = STRAIGHT, move: CameraMove | None = None) -> Film:
        """The whole scene in one shot."""
        return Film(self.seed, (Shot(scene, camera, 0.0, self.duration, move),), ())

    def moment(self) -> float:
        return self.rng.randrange(int(self.duration / MOMENT)) * MOMENT

    def elsewhere(self, subject: Subject, *avoided: str, moving: bool = True) -> Scene:
        """The same subject alone in a place that is none of the avoided, at another spot; it moves or speaks otherwise.

        moving: False keeps its motion and speech as they are.
        """
        for _ in count():
            scene = self.scene(is_single, split="train")
            guest = scene.subjects[0]
            if scene.background in avoided or guest.is_face != subject.is_face or guest.size != subject.size:
                continue
            here = subject
            if moving:
                here = replace(subject, motion=guest.motion, speech=guest.speech, blinks=guest.blinks)
            if not self._can(here.kind, here.motion.kind):
                continue
            if self.split == "train" and held_out(here.colour, here.kind, here.motion.kind):
                continue
            return replace(scene, subjects=(here,), melody=None)
        raise AssertionError

    def image(self, tag: str, scene: Scene) -> Reference:
        """A picture of the scene, taken at some moment; sometimes from closer to its first subject."""
        moment, camera = self.moment(), STRAIGHT
        if scene.subjects and self.rng.random() < CLOSER_SHARE:
            nearest = 0.42 / scene.subjects[0].radius
            if nearest > 1.15:
                path = tracks(scene, [moment])
                camera = Camera(
                    x=0.85 * float(path.x_NT[0, 0]),
                    y=0.85 * float(path.y_NT[0, 0]),
                    zoom=self.rng.uniform(1.15, min(1.8, nearest)),
                )
        return Reference(tag, "image", (self.film(scene, camera),), moment)

    def portrait(self, tag: str, subject: Subject, *avoided: str) -> Reference:
        """A picture of the same subject from elsewhere."""
        return self.image(tag, self.elsewhere(subject, *avoided))

    def view(self, tag: str, scene: Scene) -> Reference:
        """A picture of the scene's place and light: without anybody or with somebody else in it."""
        colours = {subject.colour for subject in scene.subjects}
        guests: tuple[Subject, ...] = ()
        if self.rng.random() < 0.5:
            guests = self.scene(
                lambda each: is_single(each) and each.subjects[0].colour not in colours, split="train"
            ).subjects
        # Another spot of the same place: the far details lie elsewhere.
        place = replace(scene, subjects=guests, melody=None, variant=self.rng.randrange(256))
        return Reference(tag, "image", (self.film(place),), self.moment())

    def clip(self, tag: str, scene: Scene) -> Reference:
        return Reference(tag, "video", (self.film(scene),))

    def sound(self, tag: str, scene: Scene) -> Reference:
        return Reference(tag, "audio", (self.film(scene),))

    def example(self, prompt: str, target: Film | Scene, **parts) -> Example:
        """parts: the other fields of `Example`; a source may be a scene."""
        if isinstance(target, Scene):
            target = self.film(target)
        if isinstance(parts.get("source"), Scene):
            parts["source"] = self.film(parts["source"])
        return Example(self.row, prompt, target, **parts)
