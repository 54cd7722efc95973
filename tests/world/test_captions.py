"""Captions name what is there, in both languages and all forms."""

import dataclasses
import re

import pytest

from openreels.world import Motion, captions, random_caption, sample_scene
from openreels.world.captions import (
    _COLOUR_EN,
    _COLOUR_ZH,
    _KIND_EN,
    _KIND_ZH,
    _MOTION_EN,
    _TALK_EN,
)


def named(text, words):
    return any(word in text for word in words)


def test_colour_kind_and_motion_are_never_left_out(drawn):
    stems = {"slide": ("slid", "glid"), "roll": ("roll",), "collide": ("collide", "bump", "crash", "slide into")}
    for scene in drawn:
        for seed in range(3):
            forms = captions(scene, seed)
            for form in ("short_en", "long_en", "structured_en", "short_zh", "structured_zh"):
                text = getattr(forms, form).lower()
                colours, kinds = (_COLOUR_ZH, _KIND_ZH) if form.endswith("zh") else (_COLOUR_EN, _KIND_EN)
                for subject in scene.subjects:
                    assert named(text, colours[subject.colour]), (text, subject)
                    assert named(text, kinds[subject.kind]), (text, subject)
                    if form.endswith("en"):
                        motion = subject.motion.kind
                        words = (
                            _TALK_EN[subject.speech.voice]
                            if subject.speech
                            else _MOTION_EN.get(motion, stems.get(motion))
                        )
                        assert named(text, words), (text, motion)


def test_structured_tags_are_paired_and_in_order(drawn):
    for scene in drawn:
        forms = captions(scene, 0)
        for text in (forms.structured_en, forms.structured_zh):
            tags = re.findall(r"<(\w+)>", text)
            assert tags == [tag for tag in ("sfx", "dialogue", "bgm") if tag in tags]
            assert [f"</{tag}>" for tag in tags] == re.findall(r"</\w+>", text)
            assert "sfx" in tags
            assert ("bgm" in tags) == (scene.melody is not None)
            assert ("dialogue" in tags) == any(s.speech is not None for s in scene.subjects)
            assert not text.startswith("<")


def test_natural_prompts_are_covered(make_scene, make_shape, make_face):
    ball = make_shape(
        "ball", Motion("bounce", 0.0, start=0.2, period=0.5, height=0.4, restitution=0.9), material="rubber"
    )
    meadow = make_scene(ball)
    said = {captions(meadow, seed).short_en for seed in range(3000)}
    assert "A red rubber ball bounces on the grass." in said
    said = {captions(meadow, seed).short_zh.rstrip("。") for seed in range(3000)}
    assert "一个红色的橡胶球在草地上弹跳" in said
    city = make_scene(make_face("cat", voice="high"), background="city", night=True)
    said = {re.sub("small |large |big |little |tiny ", "", captions(city, seed).short_en) for seed in range(3000)}
    assert "A yellow cat talks in a high voice in a city at night." in said


def test_wording_varies_and_is_reproducible():
    scene = sample_scene(5, duration=1.0)
    texts = [captions(scene, seed).short_en for seed in range(60)]
    assert len(set(texts)) > 25
    assert texts == [captions(scene, seed).short_en for seed in range(60)]


def test_details_are_sometimes_left_out(make_scene, make_shape):
    scene = make_scene(make_shape("ball", material="metal"), background="desert")
    texts = [captions(scene, seed).short_en.lower() for seed in range(400)]
    assert 0.2 < sum("desert" not in text for text in texts) / 400 < 0.4
    assert 0.2 < sum("metal" not in text and "steel" not in text for text in texts) / 400 < 0.4


def test_direction_is_said(make_scene, make_shape):
    for distance, side in ((0.5, "right"), (-0.5, "left")):
        scene = make_scene(make_shape("ball", Motion("roll", 0.0, start=0.1, period=0.5, distance=distance)))
        for seed in range(50):
            words = re.findall("left|right", captions(scene, seed).short_en)
            assert words[-1] == side


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(captions(sample_scene(0, duration=1.0), 0))])
def test_no_template_is_left_unfilled(name, drawn):
    for scene in drawn:
        text = getattr(captions(scene, 1), name)
        assert not re.search(r"[{}]|  | \.|,,|，，|^，|^,", text), text
        assert text == text.strip()


def test_random_caption_is_mostly_english(drawn):
    texts = [random_caption(scene, seed) for scene in drawn for seed in range(10)]
    english = sum(text.isascii() for text in texts) / len(texts)
    assert 0.63 < english < 0.77
