"""Rows that make a masked part of a clip anew. Outside of the region target and source are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

from openreels.world.examples.draw import Draw, is_pair, is_single, undressed, with_subject
from openreels.world.examples.example import Example, Region
from openreels.world.motion import tracks
from openreels.world.script import PATTERNS, Scene

__all__ = ["attribute", "background", "moving", "reference", "subject", "two_references"]

STAYING = ("bounce", "jump", "fall", "still")  # a region over their whole way leaves most of the picture


def _is_calm(scene: Scene) -> bool:
    """One subject, whose whole way a mask that stands still can cover."""
    return is_single(scene) and scene.subjects[0].motion.kind in STAYING


def _is_shape(scene: Scene) -> bool:
    return is_single(scene) and not scene.subjects[0].is_face


def changed(draw: Draw, wanted: Callable[[Scene], bool], what: str) -> tuple[Scene, Scene]:
    """A source and its target, whose first subject is another one (see `Draw.variants`)."""
    for _ in count():
        source = draw.scene(wanted, split="train")
        others = [each.colour for each in source.subjects[1:]]
        found = draw.variants(source.subjects[0], what, others)
        if found:
            return source, with_subject(source, 0, found[0])
    raise AssertionError


def subject(draw: Draw) -> Example:
    """In a box that stands still. What moves inside cannot be seen, so the prompt says it."""
    words = draw.words
    source, target = changed(draw, _is_calm, "kind")
    prompt = words.say(
        (
            "Replace the subject in the mask area by {new} that {does}.",
            "Replace what is in the masked region with {new} that {does}.",
            "Put {new} that {does} in the mask area.",
        ),
        ("把遮罩区域内的主体换成{new}，{does}。", "将蒙版区域里的东西替换为{new}，{does}。"),
        new=words.a(target.subjects[0]),
        does=words.does(target.subjects[0]),
    )
    return draw.example(prompt, target, source=source, region=Region((0,), moving=False))


def moving(draw: Draw) -> Example:
    """In a mask that follows the subject."""
    words = draw.words
    source, target = changed(draw, lambda each: _is_shape(each) and each.subjects[0].motion.kind != "still", "kind")
    prompt = words.say(
        (
            "Replace the subject in the moving mask area by {new}.",
            "Replace the subject in the mask area by {new}.",
            "What moves in the masked region becomes {new}.",
        ),
        ("把移动遮罩区域内的主体换成{new}。", "把遮罩区域内的主体换成{new}。", "蒙版里移动的东西变成{new}。"),
        new=words.a(target.subjects[0]),
    )
    return draw.example(prompt, target, source=source, region=Region((0,)))


def attribute(draw: Draw) -> Example:
    """Another colour or another pattern in the mask."""
    words = draw.words
    if draw.rng.random() < 0.7:
        source, target = (undressed(scene) for scene in changed(draw, is_single, "colour"))
        new = target.subjects[0]
        prompt = words.say(
            (
                "Make the {kind} in the mask area {colour}.",
                "Change the colour of the {kind} in the mask area to {colour}.",
                "The {kind} in the masked region becomes {colour}.",
            ),
            ("把遮罩区域内的{kind}变成{colour}。", "将蒙版区域里{kind}的颜色改为{colour}。"),
            kind=words.kind(new.kind),
            colour=words.colour(new.colour),
        )
    else:
        source, target = repatterned(draw, _is_shape, bare=True)
        new = target.subjects[0]
        prompt = words.say(
            {
                "plain": (
                    "Make the {colour} {kind} in the mask area plain.",
                    "No pattern on the {colour} {kind} in the mask area.",
                ),
                "dots": (
                    "Put dots on the {colour} {kind} in the mask area.",
                    "Give the {colour} {kind} in the mask area dots.",
                ),
                "stripes": (
                    "Put stripes on the {colour} {kind} in the mask area.",
                    "Give the {colour} {kind} in the mask area stripes.",
                ),
            }[new.pattern],
            {
                "plain": ("把遮罩区域内{colour}的{kind}变成纯色。",),
                "dots": ("给遮罩区域内{colour}的{kind}加上圆点。",),
                "stripes": ("给遮罩区域内{colour}的{kind}加上条纹。",),
            }[new.pattern],
            colour=words.colour(new.colour),
            kind=words.kind(new.kind),
        )  # fmt: skip
    return draw.example(prompt, target, source=source, region=Region((0,)))


def repatterned(draw: Draw, wanted: Callable[[Scene], bool], bare: bool = False) -> tuple[Scene, Scene]:
    """A source and its target, whose first subject has another pattern. bare: nothing else is worn."""
    target = undressed(draw.scene(wanted)) if bare else draw.scene(wanted)
    thing = target.subjects[0]
    before, after = draw.rng.sample(PATTERNS, 2)
    return with_subject(target, 0, replace(thing, pattern=before)), with_subject(
        target, 0, replace(thing, pattern=after)
    )


def background(draw: Draw) -> Example:
    """The silhouettes stay, all else is made anew. Not round glass, through which the old place would be seen."""
    words = draw.words
    target = draw.scene(lambda each: all(thing.material != "glass" for thing in each.subjects))
    source = replace(target, background=draw.other_place(target.background))
    prompt = words.say(
        (
            "Replace the background by {place}.",
            "Make the background in the mask area {place}.",
            "Change the background to {place}.",
        ),
        ("把背景换成{place}。", "将遮罩区域的背景改为{place}。"),
        place=words.a_place(target.background),
    )
    everything = tuple(range(len(target.subjects)))
    return draw.example(prompt, target, source=source, region=Region(everything, inverted=True))


def reference(draw: Draw) -> Example:
    words = draw.words
    still = draw.rng.random() < 0.5
    source, target = changed(draw, _is_calm if still else _is_shape, "kind")
    new = target.subjects[0]
    prompt = words.say(
        (
            "Put @image_1 in the mask area; it {does}.",
            "Replace the subject in the mask area by @image_1, which {does}.",
            "@image_1 {does} in the masked region.",
        ),
        ("把@image_1放到遮罩区域内，{does}。", "将遮罩区域内的主体换成@image_1，{does}。"),
        does=words.does(new),
    )
    references = (draw.portrait("image_1", new, target.background),)
    return draw.example(prompt, target, source=source, region=Region((0,), moving=not still), references=references)


def two_references(draw: Draw) -> Example:
    """Two masks, a reference for each; which goes where is drawn."""
    words = draw.words
    for _ in count():
        source = draw.scene(is_pair, split="train")
        first = draw.variants(source.subjects[0], "kind")
        if first:
            target = with_subject(source, 0, first[0])
            # Of a held-out pair only the first is a held-out triple.
            second = draw.variants(source.subjects[1], "kind", (first[0].colour,), split="train")
            if second:
                target = with_subject(target, 1, second[0])
                break
    left = 0 if left_first(target) else 1
    tags = draw.rng.sample(("image_1", "image_2"), 2)  # of the left and of the right one
    sides = (left, 1 - left)
    prompt = words.say(
        (
            "Put @{left} in the left mask, where it {left_does}, "
            "and @{right} in the right mask, where it {right_does}.",
            "In the left mask @{left} {left_does}, in the right mask @{right} {right_does}.",
        ),
        (
            "把@{left}放到左边的遮罩里，{left_does}，把@{right}放到右边的遮罩里，{right_does}。",
            "左边的遮罩里@{left}{left_does}，右边的遮罩里@{right}{right_does}。",
        ),
        left=tags[0], right=tags[1],
        left_does=words.does(target.subjects[left]), right_does=words.does(target.subjects[1 - left]),
    )  # fmt: skip
    references = [
        draw.portrait(tag, target.subjects[side], target.background) for tag, side in zip(tags, sides, strict=True)
    ]
    references.sort(key=lambda each: each.tag)
    # Boxes round their whole ways would often be one.
    return draw.example(prompt, target, source=source, region=Region((0, 1)), references=tuple(references))


def left_first(scene: Scene) -> bool:
    """Whether the first of two subjects is the left one."""
    path = tracks(scene, [0.1 * i for i in range(20)])
    return float(path.x_NT[0].mean()) < float(path.x_NT[1].mean())
