"""Weather, styles, light, effects, overlays and clothes: visible, told apart, where and when they should be."""

from dataclasses import replace

import pytest
import torch

from openreels.world import Camera, masks, render_frames, sample_scene
from openreels.world.camera import CameraMove
from openreels.world.dressing import dressed
from openreels.world.script import (
    ACCESSORIES,
    CORNERS,
    EFFECTS,
    OVERLAYS,
    PATTERNS,
    STYLES,
    TONES,
    WEATHERS,
    Overlay,
)

SIZE = {"fps": 16, "height": 64, "width": 64}
FAMILIES = {"weather": WEATHERS, "style": STYLES, "tone": TONES, "effect": (None, *EFFECTS)}


def frames(scene, count=1, **options):
    return render_frames([scene], **{**SIZE, "frames": count, **options})[0].float()


def clothed(scene, **clothes):
    return replace(scene, subjects=tuple(replace(subject, **clothes) for subject in scene.subjects))


@pytest.mark.parametrize("family", FAMILIES)
def test_values_of_a_family_look_unlike_each_other(family, drawn):
    for scene in drawn[:8]:
        seen = [frames(replace(scene, **{family: value}), start=scene.duration) for value in FAMILIES[family]]
        for index, one in enumerate(seen):
            for other in seen[:index]:
                assert (one - other).abs().mean() > 4.0, (family, scene.background, scene.night)


def test_everything_at_once_in_a_batch_alone_and_later(drawn):
    """Nothing depends on the batch, on the first frame or on the frame rate."""
    scenes = [dressed(scene, 3, 0.7) for scene in drawn[:10]]
    together = render_frames(scenes, **SIZE, frames=9)
    for row, scene in enumerate(scenes):
        assert torch.equal(render_frames([scene], **SIZE, frames=9)[0], together[row])
    assert torch.equal(render_frames(scenes, **SIZE, frames=4, start=5 / 16), together[:, 5:])
    assert torch.equal(render_frames(scenes, **{**SIZE, "fps": 32}, frames=17)[:, ::2], together)


def test_the_padded_canvas_only_shows_more():
    scenes = [dressed(sample_scene(seed, duration=1.0, aspect=86 / 64), 1, 0.7) for seed in range(12)]
    # Styles look at neighbours, which the border of the smaller picture has not got.
    scenes = [replace(scene, style="pixel" if scene.style == "pixel" else "plain", effect=None) for scene in scenes]
    inner = render_frames(scenes, fps=16, frames=2, height=64, width=86)
    canvas = render_frames(scenes, fps=16, frames=2, height=64, width=96, safe_height=64, safe_width=86)
    difference = (canvas[:, :, :, 5:91].int() - inner.int()).abs().amax(-1)[..., 4:-4]
    assert (difference > 2).float().mean() < 2e-3


@pytest.mark.parametrize("kind", OVERLAYS)
def test_overlays_stay_in_their_corner_whatever_the_camera_does(kind, drawn):
    views = [CameraMove("pan-left", 0.6).at(Camera(mirrored=True), share / 4) for share in range(5)]
    for index, scene in enumerate(drawn[:8]):
        corner = CORNERS[index % 4]
        plain, burnt = (
            frames(replace(scene, overlay=overlay), 5, camera=views) for overlay in (None, Overlay(kind, corner, index))
        )
        changed = (burnt - plain).abs().amax(-1) > 0
        rows, columns = (span.nonzero().float().mean() for span in (changed.any(0).any(1), changed.any(0).any(0)))
        if kind == "subtitle":
            assert rows > 50 and abs(columns - 31.5) < 3
        else:
            assert (rows > 32) == corner.startswith("bottom") and (columns > 32) == corner.endswith("right")
        others = [frames(replace(scene, overlay=Overlay(kind, corner, index + step))) for step in (1, 5)]
        assert all((other - burnt[:1]).abs().amax(-1).gt(40).sum() > 12 for other in others)


@pytest.mark.parametrize("weather", WEATHERS[1:])
def test_weather_falls_everywhere_and_goes_on(weather, drawn):
    scene = replace(drawn[0], subjects=(), weather=weather, background="city", night=True)
    picture = frames(scene, 9)
    falling = (picture[1:] - picture[:-1]).abs().amax(-1) > 20
    quarters = falling.any(0).unflatten(0, (2, 32)).unflatten(2, (2, 32)).float().mean((1, 3))
    assert quarters.min() > 0.1
    assert not torch.equal(frames(replace(scene, variant=scene.variant ^ 64)), picture[:1])


@pytest.mark.parametrize("effect", EFFECTS)
def test_effects_unfold_from_nothing(effect, drawn):
    scene = replace(drawn[2], effect=effect)
    plain, seen = (frames(each, 18) for each in (drawn[2], scene))
    distance = (seen - plain).abs().mean((1, 2, 3))
    assert distance[0] == 0
    assert distance[4] < distance[10] < distance[17]
    late = frames(scene, start=scene.duration + 1.0)
    if effect == "grey":
        assert (late.amax(-1) - late.amin(-1)).max() <= 1


@pytest.mark.parametrize("accessory", ACCESSORIES)
def test_accessories_move_with_their_subject_and_belong_to_its_mask(accessory, drawn):
    for scene in drawn[:12]:
        worn = clothed(scene, accessory=accessory)
        bare, covered = (masks([each], **SIZE, frames=9)[0] for each in (scene, worn))
        assert (covered | ~bare).all() and (covered & ~bare).any()
        changed = (frames(worn, 9) - frames(scene, 9)).abs().amax(-1) > 80
        assert changed.flatten(1).sum(1).min() > 8
        near = torch.nn.functional.max_pool2d(covered.any(0).float(), 3, stride=1, padding=1) > 0
        assert not (changed & ~near).any()


def test_patterns_are_shades_of_the_body(drawn):
    for scene in drawn[:12]:
        plain, found = frames(scene), masks([scene], **SIZE, frames=1)[0, :, 0].any(0)
        seen = [frames(clothed(scene, pattern=pattern)) for pattern in PATTERNS[1:]]
        for picture in seen:
            changed = (picture - plain)[0].abs().amax(-1) > 30
            assert changed.sum() > 0.12 * found.sum()
            assert ((picture - plain)[0].amax(-1) <= 1).all()  # darker, never lighter
            near = torch.nn.functional.max_pool2d(found[None].float(), 3, stride=1, padding=1)[0] > 0
            assert not (changed & ~near).any()
        assert (seen[0] - seen[1]).abs().amax(-1).gt(30).sum() > 0.1 * found.sum()


def test_dressing_is_rare_and_repeatable(drawn):
    assert [dressed(scene, 1) for scene in drawn] == [dressed(scene, 1) for scene in drawn]
    assert [dressed(scene, 1, 0.0) for scene in drawn] == drawn
    touched = [
        field for scene in drawn for field in FAMILIES if getattr(dressed(scene, 1), field) not in FAMILIES[field][:1]
    ]
    assert 10 < len(touched) < 70
    everything = [dressed(scene, 1, 1.0) for scene in drawn]
    assert all(scene.weather != "clear" and scene.style != "plain" for scene in everything)
    assert all(subject.accessory for scene in everything for subject in scene.subjects)
    with pytest.raises(ValueError, match="share"):
        dressed(drawn[0], 1, 1.5)
