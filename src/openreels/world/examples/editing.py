"""Rows that change one thing of a clip by an instruction, without a mask: exact pairs of the same script."""

from __future__ import annotations

from dataclasses import replace

from openreels.world.camera import CAMERA_MOVES, CameraMove
from openreels.world.examples.draw import Draw, is_pair, is_single, with_subject
from openreels.world.examples.example import Example
from openreels.world.examples.inpainting import changed, left_first, repatterned
from openreels.world.script import ACCESSORIES, CORNERS, STYLES, TONES, WEATHERS, Overlay, Scene

__all__ = [
    "accessory",
    "add_subject",
    "background",
    "camera",
    "night",
    "recolour",
    "remove_overlay",
    "remove_subject",
    "repattern",
    "replace_subject",
    "style",
    "tone",
    "weather",
]

NAMED_SHARE = 0.3  # of instructions that name the clip


def _edit(draw: Draw, instruction: str, source: Scene, target: Scene, **parts) -> Example:
    if draw.rng.random() < NAMED_SHARE:
        instruction = draw.words.part(
            ("In @video_1: {what}", "@video_1: {what}"), ("在@video_1中：{what}", "@video_1：{what}"), what=instruction
        )
    return draw.example(instruction, parts.pop("film", target), source=source, **parts)


# -- what is burnt in -------------------------------------------------------------------------------------------------


_CORNER_ZH = {"top left": "左上角", "top right": "右上角", "bottom left": "左下角", "bottom right": "右下角"}


def remove_overlay(kind: str, draw: Draw) -> Example:
    """kind: of OVERLAYS."""
    target = draw.scene()
    overlay = Overlay(kind, draw.rng.choice(CORNERS), draw.rng.randrange(16))
    en, zh = {
        "watermark": (
            ("Remove the watermark.", "Remove the watermark in the {corner} corner.", "Take the watermark away."),
            ("去掉水印。", "去除{corner}的水印。", "把水印擦掉。"),
        ),
        "subtitle": (
            ("Remove the subtitle.", "Remove the text at the bottom.", "Take away the caption at the bottom."),
            ("去掉字幕。", "去除底部的文字。", "把下方的字幕擦掉。"),
        ),
        "logo": (
            ("Remove the logo.", "Remove the logo in the {corner} corner.", "Take the logo away."),
            ("去掉标志。", "去除{corner}的标志。", "把台标擦掉。"),
        ),
    }[kind]
    corner = _CORNER_ZH[overlay.corner] if draw.words.chinese else overlay.corner
    return _edit(draw, draw.words.say(en, zh, corner=corner), replace(target, overlay=overlay), target)


# -- subjects ---------------------------------------------------------------------------------------------------------


def remove_subject(draw: Draw) -> Example:
    source = draw.scene(is_pair)
    instruction = draw.words.say(
        ("Remove {it}.", "Take {it} away.", "Delete {it} from the picture.", "Make {it} disappear."),
        ("去掉{it}。", "把{it}移除。", "删除画面里的{it}。", "让{it}消失。"),
        it=draw.words.the(source.subjects[1]),
    )
    return _edit(draw, instruction, source, replace(source, subjects=source.subjects[:1]))


def add_subject(draw: Draw) -> Example:
    words = draw.words
    target = draw.scene(lambda each: is_pair(each) and not each.subjects[0].is_face)
    new = target.subjects[0]
    instruction = words.say(
        (
            "Add {new} on the {side} that {does}.",
            "Put {new} on the {side}; it {does}.",
            "On the {side}, add {new} that {does}.",
        ),
        ("在{side}添加{new}，{does}。", "在{side}放{new}，{does}。", "{side}加上{new}，{does}。"),
        new=words.a(new), side=words.side(not left_first(target)), does=words.does(new),
    )  # fmt: skip
    return _edit(draw, instruction, replace(target, subjects=target.subjects[1:]), target)


def replace_subject(draw: Draw) -> Example:
    words = draw.words
    source, target = changed(draw, lambda each: is_single(each) or is_pair(each), "kind")
    instruction = words.say(
        ("Replace {old} with {new}.", "Turn {old} into {new}.", "Swap {old} for {new}."),
        ("把{old}换成{new}。", "将{old}替换为{new}。", "让{old}变成{new}。"),
        old=words.the(source.subjects[0]),
        new=words.a(target.subjects[0]),
    )
    return _edit(draw, instruction, source, target)


def recolour(draw: Draw) -> Example:
    words = draw.words
    source, target = changed(draw, lambda each: is_single(each) or is_pair(each), "colour")
    instruction = words.say(
        (
            "Make {old} {colour}.",
            "Change the colour of {old} to {colour}.",
            "Paint {old} {colour}.",
            "{old} should be {colour}.",
        ),
        ("把{old}变成{colour}。", "将{old}的颜色改为{colour}。", "把{old}涂成{colour}。"),
        old=words.the(source.subjects[0]),
        colour=words.colour(target.subjects[0].colour),
    )
    return _edit(draw, instruction, source, target)


def repattern(draw: Draw) -> Example:
    words = draw.words
    source, target = repatterned(draw, lambda each: is_single(each) and not each.subjects[0].is_face)
    en, zh = {
        "plain": (
            ("Make {it} plain.", "Remove the pattern from {it}.", "{it} without any pattern."),
            ("把{it}变成纯色。", "去掉{it}的花纹。"),
        ),
        "dots": (
            ("Put dots on {it}.", "Give {it} a dotted pattern.", "Make {it} spotted."),
            ("给{it}加上圆点。", "把{it}变成圆点花纹。"),
        ),
        "stripes": (
            ("Put stripes on {it}.", "Give {it} a striped pattern.", "Make {it} striped."),
            ("给{it}加上条纹。", "把{it}变成条纹花纹。"),
        ),
    }[target.subjects[0].pattern]
    return _edit(draw, words.say(en, zh, it=words.the(target.subjects[0])), source, target)


_ACCESSORY = {"hat": ("a hat", "帽子"), "bow": ("a bow", "蝴蝶结"), "glasses": ("glasses", "眼镜")}


def accessory(draw: Draw) -> Example:
    """Put something on a face, or take it off."""
    words = draw.words
    scene = draw.scene(lambda each: is_single(each) and each.subjects[0].is_face)
    face = scene.subjects[0]
    bare = with_subject(scene, 0, replace(face, accessory=None))
    thing = draw.rng.choice(ACCESSORIES)
    dressed = with_subject(scene, 0, replace(face, accessory=thing))
    slots = {"it": words.the(face), "thing": _ACCESSORY[thing][words.chinese]}
    if draw.rng.random() < 0.7:
        instruction = words.say(
            ("Give {it} {thing}.", "Put {thing} on {it}.", "{it} should wear {thing}."),
            ("给{it}戴上{thing}。", "让{it}戴{thing}。"),
            **slots,
        )
        return _edit(draw, instruction, bare, dressed)
    instruction = words.say(
        ("Remove the {thing} of {it}.", "Take the {thing} off {it}."),
        ("去掉{it}的{thing}。", "摘下{it}的{thing}。"),
        it=slots["it"],
        thing=slots["thing"].removeprefix("a "),
    )
    return _edit(draw, instruction, dressed, bare)


# -- the scene --------------------------------------------------------------------------------------------------------


def background(draw: Draw) -> Example:
    words = draw.words
    target = draw.scene()
    source = replace(target, background=draw.other_place(target.background))
    instruction = words.say(
        (
            "Change the background to {place}.",
            "Replace the background by {place}.",
            "Move it to {place}; the foreground stays.",
        ),
        ("把背景换成{place}。", "将背景改为{place}，前景不变。", "场景换到{place}。"),
        place=words.a_place(target.background),
    )
    return _edit(draw, instruction, source, target)


_STYLE = {
    "paper": (
        ("Turn it into a paper cut-out.", "Make it look like cut paper.", "In the style of a paper collage."),
        ("变成剪纸风格。", "做成剪纸的样子。"),
    ),
    "sketch": (
        ("Turn it into a pencil sketch.", "Make it look like a pencil drawing.", "In the style of a sketch."),
        ("变成铅笔素描。", "做成手绘素描的样子。"),
    ),
    "pixel": (
        ("Turn it into pixel art.", "Make it look like an old pixel game.", "In the style of pixel art."),
        ("变成像素风格。", "做成像素游戏的样子。"),
    ),
    "neon": (
        ("Turn it into neon lights.", "Make it glow like neon signs.", "In a neon cyberpunk style."),
        ("变成霓虹风格。", "做成霓虹灯的样子。"),
    ),
}


def style(draw: Draw) -> Example:
    source = draw.scene()
    chosen = draw.rng.choice([each for each in STYLES if each != "plain"])
    return _edit(draw, draw.words.say(*_STYLE[chosen]), source, replace(source, style=chosen))


_MOVE = {
    "pan-left": (
        ("Pan the camera to the left.", "Re-render it with a pan left.", "The camera moves to the left."),
        ("镜头向左平移。", "镜头左摇。"),
    ),
    "pan-right": (
        ("Pan the camera to the right.", "Re-render it with a pan right.", "The camera moves to the right."),
        ("镜头向右平移。", "镜头右摇。"),
    ),
    "push-in": (
        ("Push in.", "Let the camera push in slowly.", "The camera moves closer."),
        ("镜头推近。", "镜头慢慢推进。"),
    ),
    "pull-out": (
        ("Pull out.", "Let the camera pull out slowly.", "The camera moves back."),
        ("镜头拉远。", "镜头慢慢后退。"),
    ),
}
PAN, RATIO = (0.28, 0.42), (1.4, 1.8)


def camera(draw: Draw) -> Example:
    source = draw.scene()
    kind = draw.rng.choice(CAMERA_MOVES)
    amount = draw.rng.uniform(*(PAN if kind.startswith("pan") else RATIO))
    film = draw.film(source, move=CameraMove(kind, amount))
    return _edit(draw, draw.words.say(*_MOVE[kind]), source, source, film=film)


_WEATHER = {
    "clear": (("Stop the {bad}.", "Make the weather clear.", "Let the {bad} end."), ("让{bad}停下。", "让天气放晴。")),
    "rain": (("Let it rain.", "Make it rainy.", "Add rain."), ("让天下雨。", "加上雨。", "变成雨天。")),
    "snowfall": (("Let it snow.", "Add falling snow.", "Make it snow."), ("让天下雪。", "加上飘雪。", "变成下雪天。")),
}
_BAD = {"rain": ("rain", "雨"), "snowfall": ("snow", "雪")}


def weather(draw: Draw) -> Example:
    """Mostly some weather where there was none; outdoors."""
    scene = draw.scene(lambda each: each.background != "room")
    bad = draw.rng.choice([each for each in WEATHERS if each != "clear"])
    before, after = ("clear", bad) if draw.rng.random() < 0.8 else (bad, "clear")
    instruction = draw.words.say(*_WEATHER[after], bad=_BAD[bad][draw.words.chinese])
    return _edit(draw, instruction, replace(scene, weather=before), replace(scene, weather=after))


def night(draw: Draw) -> Example:
    """Night, or day."""
    target = draw.scene()
    en, zh = {
        True: (
            ("Make it night.", "Turn day into night.", "Change the time to night.", "It should be dark."),
            ("变成夜晚。", "把白天变成黑夜。", "时间改为晚上。"),
        ),
        False: (
            ("Make it day.", "Turn night into day.", "Change the time to daytime.", "It should be broad daylight."),
            ("变成白天。", "把黑夜变成白天。", "时间改为白天。"),
        ),
    }[target.night]
    return _edit(draw, draw.words.say(en, zh), replace(target, night=not target.night), target)


_TONE = {
    "warm": (
        ("Make the light warmer.", "Give it a warm tone.", "Warm golden light."),
        ("把色调变暖。", "变成温暖的色调。"),
    ),
    "cool": (
        ("Make the light cooler.", "Give it a cool tone.", "Cold bluish light."),
        ("把色调变冷。", "变成清冷的色调。"),
    ),
    "natural": (("Make the light natural.", "Remove the colour cast."), ("恢复自然的色调。", "去掉偏色。")),
}


def tone(draw: Draw) -> Example:
    scene = draw.scene()
    tinted = draw.rng.choice([each for each in TONES if each != "natural"])
    before, after = ("natural", tinted) if draw.rng.random() < 0.8 else (tinted, "natural")
    return _edit(draw, draw.words.say(*_TONE[after]), replace(scene, tone=before), replace(scene, tone=after))
