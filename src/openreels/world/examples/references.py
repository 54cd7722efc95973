"""Rows whose prompt names references instead of describing what they show: pictures and clips.

References never show the target's own moment: the same subject at another place, spot, time and motion, the same place
with nobody or with somebody else. A prompt says neither colour nor kind, so that the picture must be read.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from openreels.world.camera import Camera
from openreels.world.examples.draw import Draw, is_pair, is_single, with_subject
from openreels.world.examples.example import Example, Reference
from openreels.world.examples.inpainting import left_first
from openreels.world.examples.shots import whole
from openreels.world.films import Film, Shot
from openreels.world.script import EFFECTS, Scene, Subject

__all__ = ["background_and_clip", "effect", "expression", "images", "motion", "storyboard"]

PANEL_SHARE = 0.5  # of storyboards with two panels of every shot


# -- pictures ---------------------------------------------------------------------------------------------------------


def images(count: int, draw: Draw) -> Example:
    """1: a subject. 2: two, or one and the place. 3: two and the place. 4: the first of them from two pictures."""
    if count == 1 or (count == 2 and draw.rng.random() < 0.5):
        target = draw.scene(is_single)
    else:
        target = draw.scene(is_pair)
    people = len(target.subjects)
    shown: list[int | None] = [*range(people)]  # which subject each picture shows, None for the place
    if count > people:
        shown.append(None)
    if count == 4:
        shown.append(0)
    draw.rng.shuffle(shown)
    references, tags = [], {}
    for number, who in enumerate(shown, 1):
        tag = f"image_{number}"
        tags.setdefault(who, []).append(f"@{tag}")
        if who is None:
            references.append(draw.view(tag, target))
        else:
            references.append(draw.portrait(tag, target.subjects[who], target.background))
    prompt = _action(draw, target, {who: _both(draw, names) for who, names in tags.items()})
    return draw.example(draw.words.with_sounds(prompt, target), target, references=tuple(references))


def _both(draw: Draw, tags: list[str]) -> str:
    """One subject by its tags."""
    if len(tags) == 1:
        return tags[0]
    return draw.words.part(
        ("the one of {a} and {b}", "the subject of {a} and {b}"),
        ("{a}和{b}里的同一个", "{a}与{b}的主体"),
        a=tags[0],
        b=tags[1],
    )


def _action(draw: Draw, target: Scene, names: dict[int | None, str]) -> str:
    """What happens, with names for subjects and, where it is shown, for the place."""
    words = draw.words
    place = words.part(
        ("at the place of {it}", "in front of the background of {it}", "in {it}"),
        ("在{it}的地方", "在{it}的背景前", "在{it}里"),
        it=names[None],
    ) if None in names else words.place(target)  # fmt: skip
    does = [words.does(subject) for subject in target.subjects]
    if is_single(target):
        return words.say(
            ("{who} {does} {place}.", "{place}, {who} {does}."),
            ("{who}{place}{does}。", "{place}，{who}{does}。"),
            who=names[0], does=does[0], place=place,
        )  # fmt: skip
    left, right = (0, 1) if left_first(target) else (1, 0)
    return words.say(
        (
            "On the left {a} {a_does}, on the right {b} {b_does}, {place}.",
            "{a} {a_does} on the left while {b} {b_does} on the right, {place}.",
            "{place}, {b} {b_does} on the right and {a} {a_does} on the left.",
        ),
        ("{place}，左边{a}{a_does}，右边{b}{b_does}。", "{place}，右边{b}{b_does}，左边{a}{a_does}。"),
        a=names[left], b=names[right], a_does=does[left], b_does=does[right], place=place,
    )  # fmt: skip


# -- a storyboard -----------------------------------------------------------------------------------------------------


def storyboard(draw: Draw) -> Example:
    """A grid of panels, one or two of every shot in order, drawn at other moments and other spots of the place."""
    words = draw.words
    film = whole(draw, ("",) if draw.rng.random() < 0.75 else ("", ""))
    panels_each = 2 if len(film.shots) == 2 and draw.rng.random() < PANEL_SHARE else 1
    turned = draw.rng.randrange(1, 256)
    panels = []
    for shot in film.shots:
        scene = replace(shot.scene, variant=(shot.scene.variant + turned) % 256)
        for part in range(panels_each):
            moment = shot.duration * (part + draw.rng.uniform(0.15, 0.85)) / panels_each
            panels.append(Film(film.seed, (Shot(scene, shot.camera, shot.start + moment, shot.duration - moment),), ()))
    board = Reference("image_1", "image", tuple(panels))
    actions = [_told(draw, film, index) for index in range(len(film.shots))]
    prompt = words.say(
        (
            "Film the storyboard @image_1: {story}.",
            "Shoot the panels of @image_1 in order: {story}.",
            "@image_1 is the storyboard: {story}.",
        ),
        ("按照分镜@image_1拍摄：{story}。", "依次拍摄@image_1的每一格：{story}。"),
        story=("，然后" if words.chinese else ", then ").join(actions),
    )  # fmt: skip
    return draw.example(prompt, film, references=(board,))


_CUT = {
    "cut-in": ("in a closer shot {it}", "近景中{it}"),
    "cut-out": ("in a wider shot {it}", "远景中{it}"),
    "multi-angle": ("from another angle {it}", "从另一个角度看，{it}"),
    "shot-reverse-shot": ("in the reverse shot {it}", "反打镜头里{it}"),
    "cut-away": ("elsewhere {it}", "在别处，{it}"),
}


def _as_seen(subject: Subject, camera: Camera) -> Subject:
    """From behind, what moves to the left moves to the right."""
    if not camera.mirrored:
        return subject
    return replace(subject, motion=replace(subject.motion, distance=-subject.motion.distance))


def _told(draw: Draw, film: Film, index: int) -> str:
    """What one shot shows, with the cut that leads to it."""
    words, shot = draw.words, film.shots[index]
    seen = [_as_seen(shot.scene.subjects[i], shot.camera) for i in shot.seen[:2]]
    if len(seen) == 2 and seen[0].motion.kind != "collide":
        one, other = (words.does(each) for each in seen)
        it = words.part("one {one} and the other {other}", "一个{one}，另一个{other}", one=one, other=other)
    elif seen:
        it = words.part("the subject {does}", "主体{does}", does=words.does(seen[0]))
    else:
        it = words.part("the place is empty", "空无一人")
    return words.part(*_CUT[film.cuts[index - 1]], it=it) if index else it


# -- a picture and a clip ---------------------------------------------------------------------------------------------


def _other_mover(draw: Draw, subject: Subject) -> Subject | None:
    """Somebody else of the same size, with the very same motion and speech."""
    found = draw.variants(subject, "kind", split="train")
    return found[0] if found else None


def motion(draw: Draw) -> Example:
    """The subject of a picture moves as another one does in a clip: same way, same times."""
    words = draw.words
    for _ in count():
        target = draw.scene(lambda each: is_single(each) and each.subjects[0].motion.kind not in ("still", "fall"))
        subject = target.subjects[0]
        mover = None if subject.is_face else _other_mover(draw, subject)
        if mover is not None:
            break
    mirror = replace(draw.elsewhere(mover, target.background, moving=False), floor=target.floor)
    prompt = words.say(
        (
            "@image_1 moves like the subject of @video_1, {place}.",
            "Animate @image_1 with the movements of @video_1, {place}.",
            "{place}, @image_1 follows the motion of @video_1.",
        ),
        (
            "@image_1{place}模仿@video_1的动作。",
            "让@image_1按照@video_1的动作运动，{place}。",
            "{place}，@image_1跟随@video_1的运动。",
        ),
        place=words.place(target),
    )  # fmt: skip
    references = (draw.portrait("image_1", subject, target.background), draw.clip("video_1", mirror))
    return draw.example(words.with_sounds(prompt, target), target, references=references)


def expression(draw: Draw) -> Example:
    """The face of a picture says the same syllables as another face in a clip, and blinks with it."""
    words = draw.words
    for _ in count():
        target = draw.scene(lambda each: is_single(each) and each.subjects[0].is_face)
        face = target.subjects[0]
        other = _other_mover(draw, face)
        if other is not None:
            break
    guest = draw.elsewhere(other, target.background)
    guest = with_subject(guest, 0, replace(guest.subjects[0], speech=face.speech, blinks=face.blinks))
    prompt = words.say(
        (
            "The facial expressions of @video_1 on @image_1, who speaks in a {voice} voice {place}.",
            "{place}, @image_1 makes the same face as @video_1 and speaks in a {voice} voice.",
            "@image_1 moves the mouth exactly like @video_1, in a {voice} voice, {place}.",
        ),
        (
            "@image_1{place}做出@video_1的表情，用{voice}的声音说话。",
            "{place}，@image_1的嘴形和@video_1一样，用{voice}的声音说话。",
        ),
        voice=words.voice(face.speech.voice),
        place=words.place(target),
    )
    references = (draw.portrait("image_1", face, target.background), draw.clip("video_1", guest))
    return draw.example(words.with_sounds(prompt, target), target, references=references)


def background_and_clip(draw: Draw) -> Example:
    """What happens in a clip, at the place of a picture."""
    words = draw.words
    target = draw.scene()
    before = replace(target, background=draw.other_place(target.background), variant=draw.rng.randrange(256))
    prompt = words.say(
        (
            "What happens in @video_1 takes place in the background of @image_1.",
            "Put the content of @video_1 in front of the background of @image_1.",
            "The background of @image_1 with the subjects and the motion of @video_1.",
        ),
        (
            "把@video_1的内容放到@image_1的背景里。",
            "@video_1里的一切发生在@image_1的地方。",
            "用@image_1作背景，保留@video_1的主体和动作。",
        ),
    )  # fmt: skip
    references = (draw.view("image_1", target), draw.clip("video_1", before))
    voices = [subject.speech.voice for subject in target.subjects if subject.speech is not None]
    dialogue = words.spoken(voices[0]) if voices else ""
    return draw.example(words.with_sounds(prompt, target, dialogue=dialogue), target, references=references)


def effect(draw: Draw) -> Example:
    """A clip shows an effect; it comes over the picture, which the target starts with."""
    words = draw.words
    scene = draw.scene(is_single)
    chosen = draw.rng.choice(EFFECTS)
    shown = draw.scene(lambda each: is_single(each) and each.background != scene.background, split="train")
    target = replace(scene, effect=chosen)
    prompt = words.say(
        (
            "Apply the effect of @video_1 to the first frame @image_1; the subject {does}.",
            "Start with the picture @image_1, then the effect of @video_1 comes over it. The subject {does}.",
            "@image_1 is the first frame. The subject {does} with the effect of @video_1.",
        ),
        (
            "把@video_1的特效用到首帧@image_1上，主体{does}。",
            "以@image_1为首帧，出现@video_1的特效，主体{does}。",
        ),
        does=words.does(scene.subjects[0]),
    )
    first = Reference("image_1", "image", (draw.film(target),), 0.0)
    return draw.example(prompt, target, references=(first, draw.clip("video_1", replace(shown, effect=chosen))))
