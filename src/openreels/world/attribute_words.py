"""What one says of a scene's attributes: weather, style, light, overlay, what subjects wear, who talks in turns.

English and Chinese, the plain wording first. Nothing is drawn from the generator for what a scene does not have, so
words of plain scenes do not depend on this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random

from openreels.world.overlays import written
from openreels.world.script import Scene, Subject

__all__ = ["CHINESE", "ENGLISH", "Words", "pick", "turns"]


def pick(rng: Random, words: tuple[str, ...]) -> str:
    """The plain wording half of the time."""
    if len(words) == 1 or rng.random() < 0.5:
        return words[0]
    return words[1 + int(rng.random() * (len(words) - 1))]


def turns(scene: Scene) -> tuple[int, int] | None:
    """Left and right speaker, as indices of the subjects, of a dialogue: two faces in view, of which one speaks at a
    time. None where the scene is none."""
    if len(scene.subjects) != 2 or any(subject.speech is None for subject in scene.subjects):
        return None
    if any(abs(subject.motion.x) > 0.5 * scene.width or not subject.speech.syllables for subject in scene.subjects):
        return None
    spoken = sorted((s.start, s.start + s.duration) for subject in scene.subjects for s in subject.speech.syllables)
    # Syllables of one speaker may touch.
    if any(later[0] < earlier[1] - 0.08 for earlier, later in pairwise(spoken)):
        return None
    left = 0 if scene.subjects[0].motion.x < scene.subjects[1].motion.x else 1
    return left, 1 - left


Wordings = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Words:
    """The vocabulary of one language. Overlays have a slot {corner}; texts {words}."""

    weathers: Wordings
    weather_sounds: Wordings
    styles: Wordings
    tones: Wordings
    effects: Wordings
    overlays: Wordings
    texts: Wordings
    corners: Wordings
    accessories: Wordings
    patterns: Wordings

    def weather(self, rng: Random, scene: Scene, share: float) -> list[str]:
        """What falls, with this probability; nothing in clear weather."""
        return self._said(rng, self.weathers.get(scene.weather), share)

    def weather_sound(self, rng: Random, scene: Scene) -> list[str]:
        return self._said(rng, self.weather_sounds.get(scene.weather), 1.0)

    def manner(self, rng: Random, scene: Scene, share: float) -> list[str]:
        """Style and light."""
        style = self._said(rng, self.styles.get(scene.style), share)
        return style + self._said(rng, self.tones.get(scene.tone), share)

    def effect(self, rng: Random, scene: Scene, share: float) -> list[str]:
        return self._said(rng, self.effects.get(scene.effect or ""), share)

    def overlay(self, rng: Random, scene: Scene, share: float) -> list[str]:
        """That there is one, and where."""
        overlay = scene.overlay
        if overlay is None or rng.random() >= share:
            return []
        corner = pick(rng, self.corners[overlay.corner])
        return [pick(rng, self.overlays[overlay.kind]).format(corner=corner)]

    def on_screen(self, rng: Random, scene: Scene) -> list[str]:
        """What the overlay says, for the tag of on-screen text."""
        overlay = scene.overlay
        if overlay is None:
            return []
        corner = pick(rng, self.corners[overlay.corner])
        return [pick(rng, self.texts[overlay.kind]).format(corner=corner, words=written(overlay))]

    def accessory(self, rng: Random, subject: Subject, share: float) -> list[str]:
        return self._said(rng, self.accessories.get(subject.accessory or ""), share)

    def pattern(self, rng: Random, subject: Subject, share: float) -> list[str]:
        return self._said(rng, self.patterns.get(subject.pattern), share)

    @staticmethod
    def _said(rng: Random, wordings: tuple[str, ...] | None, share: float) -> list[str]:
        if wordings is None or rng.random() >= share:
            return []
        return [pick(rng, wordings)]


ENGLISH = Words(
    weathers={
        "rain": ("in the rain", "while it is raining", "in pouring rain", "as rain is falling"),
        "snowfall": ("in falling snow", "while it is snowing", "in a snowfall", "as snowflakes are falling"),
    },
    weather_sounds={
        "rain": ("falling rain", "the patter of rain"),
        "snowfall": ("the hush of falling snow", "soft snowfall"),
    },
    styles={
        "paper": ("in paper-cut style", "as a paper cut-out", "made of cut paper", "in the style of paper cutting"),
        "sketch": ("as a pencil sketch", "in pencil sketch style", "drawn in pencil", "as a pencil drawing"),
        "pixel": ("in pixel art style", "as pixel art", "made of coarse pixels", "in the style of a retro video game"),
        "neon": ("in neon style", "with glowing neon outlines", "in neon lights", "in cyberpunk neon style"),
    },
    tones={
        "warm": ("in warm light", "in warm colours", "in golden light", "with a warm tone"),
        "cool": ("in cool light", "in cool colours", "in bluish light", "with a cool tone"),
    },
    effects={
        "grey": ("the colours slowly fade to grey", "the picture gradually turns black and white"),
        "spotlight": ("darkness closes in to a spotlight in the middle", "a dark vignette slowly closes on the middle"),
        "ripple": ("the picture begins to ripple like water", "waves distort the picture more and more"),
    },
    overlays={
        "watermark": ("with a watermark in the {corner} corner", "with a see-through watermark at the {corner}"),
        "subtitle": ("with a subtitle at the bottom", "with a line of text at the bottom", "with subtitles"),
        "logo": ("with a logo in the {corner} corner", "with a small logo at the {corner}"),
    },
    texts={
        "watermark": ('a watermark "{words}" in the {corner} corner', 'the watermark at the {corner} reads "{words}"'),
        "subtitle": ('a subtitle "{words}" at the bottom', 'the subtitle at the bottom reads "{words}"'),
        "logo": ('a logo "{words}" in the {corner} corner', 'the logo at the {corner} shows "{words}"'),
    },
    corners={
        "top left": ("top left", "upper left"),
        "top right": ("top right", "upper right"),
        "bottom left": ("bottom left", "lower left"),
        "bottom right": ("bottom right", "lower right"),
    },
    accessories={
        "hat": ("wearing a hat", "with a hat on", "wearing a black top hat", "in a hat"),
        "bow": ("wearing a bow", "with a bow on top", "wearing a purple ribbon", "with a ribbon"),
        "glasses": ("wearing glasses", "with glasses on", "wearing sunglasses", "in sunglasses"),
    },
    patterns={
        "dots": ("dotted", "spotted", "polka-dot", "speckled"),
        "stripes": ("striped", "stripy", "stripe-patterned"),
    },
)

CHINESE = Words(
    weathers={"rain": ("雨中", "下雨时", "大雨里"), "snowfall": ("飘雪中", "下雪时", "纷飞的雪花里")},
    weather_sounds={"rain": ("雨声", "淅沥的雨声"), "snowfall": ("轻柔的落雪声",)},
    styles={
        "paper": ("剪纸风格", "剪纸画风", "纸雕风格"),
        "sketch": ("铅笔素描风格", "素描画风", "铅笔画风格"),
        "pixel": ("像素风格", "像素画风", "复古游戏的像素风格"),
        "neon": ("霓虹风格", "发光的霓虹轮廓", "赛博朋克霓虹风格"),
    },
    tones={"warm": ("暖色调", "温暖的光线", "金黄的暖光"), "cool": ("冷色调", "清冷的光线", "偏蓝的冷光")},
    effects={
        "grey": ("画面渐渐褪成灰色", "色彩慢慢变成黑白"),
        "spotlight": ("黑暗向中间收拢成一束聚光", "暗角慢慢向中央合拢"),
        "ripple": ("画面像水一样泛起波纹", "波浪越来越强地扭曲画面"),
    },
    overlays={
        "watermark": ("{corner}有水印", "{corner}有半透明的水印"),
        "subtitle": ("底部有字幕", "画面下方有一行文字"),
        "logo": ("{corner}有标志", "{corner}有一个小徽标"),
    },
    texts={
        "watermark": ("{corner}的水印“{words}”",),
        "subtitle": ("底部的字幕“{words}”",),
        "logo": ("{corner}的标志“{words}”",),
    },
    corners={
        "top left": ("左上角",),
        "top right": ("右上角",),
        "bottom left": ("左下角",),
        "bottom right": ("右下角",),
    },
    accessories={
        "hat": ("戴着帽子的", "戴黑礼帽的"),
        "bow": ("戴着蝴蝶结的", "系着紫色蝴蝶结的"),
        "glasses": ("戴着眼镜的", "戴墨镜的"),
    },
    patterns={"dots": ("带圆点的", "有斑点的", "波点的"), "stripes": ("带条纹的", "条纹的")},
)
