"""The oracle passes true clips, and fails them when the one thing it measures is broken."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from openreels.evaluation.measures import MEASURES, Expectation
from openreels.evaluation.oracle import contact_matches, listen, look, mouth_correlation
from openreels.evaluation.suite import score, score_shuffled
from openreels.media import Clip
from openreels.world import MATERIALS, Scene, contacts, mouth

TRUTH = {measure.name: 0.97 for measure in MEASURES} | {"mouth": 0.85}
# Generous limits: what a random answer gets, for the numbers of classes and subjects that the world has.
CHANCE = {
    "background": 0.30,
    "colour": 0.30,
    "shape": 0.35,
    "two subjects": 0.10,
    "motion": 0.40,
    "material": 0.45,
    "contacts": 0.45,  # several blows in two seconds, each 160 ms wide: some meet by luck (0.415 measured)
    "impacts": 0.45,
    "mouth": 0.25,
}
GREY = Clip(
    frames=np.full((32, 64, 64, 3), 128, np.uint8), fps=Fraction(16), audio=np.zeros((1, 32_000), np.float32),
    sample_rate=16_000,
)  # fmt: skip


@pytest.mark.parametrize("name", TRUTH)
def test_true_clips_pass(sample, name: str):
    values = score(sample.expected, sample.measured)[name]
    assert len(values) >= 15
    assert np.mean(values) >= TRUTH[name]


@pytest.mark.parametrize("name", CHANCE)
def test_shuffled_clips_are_near_chance(sample, name: str):
    values = score_shuffled(sample.expected, sample.measured)[name]
    assert len(values) >= 15
    assert np.mean(values) <= CHANCE[name]


def test_visible_contacts_are_where_the_world_put_them(sample):
    """Between two frames: a frame lasts 62 ms."""
    errors, missed = [], 0
    for scene, (sight, _) in zip(sample.scenes, sample.measured, strict=True):
        for contact in contacts(scene):
            nearest = min((abs(contact.time - time) for time in sight.contacts), default=1.0)
            missed += nearest > 0.08
            errors.append(min(nearest, 0.08))
    assert np.median(errors) < 0.008
    assert missed <= 0.03 * len(errors)


def test_impacts_are_heard_when_they_happen(sample):
    errors, extra = [], 0
    for scene, (_, heard) in zip(sample.scenes, sample.measured, strict=True):
        times = [contact.time for contact in contacts(scene)]
        for impact in heard.impacts:
            nearest = min((abs(impact.time - time) for time in times), default=1.0)
            extra += nearest > 0.08
            errors.append(min(nearest, 0.08))
    assert np.median(errors) < 0.01
    assert extra <= 0.04 * len(errors)


def test_mouth_opening_follows_the_true_mouth(sample):
    times = (np.arange(32) / 16).tolist()
    found = [
        np.corrcoef(sight.mouth_T, mouth(subject.speech, times)[0])[0, 1]
        for scene, (sight, _) in zip(sample.scenes, sample.measured, strict=True)
        for subject in scene.subjects
        if subject.speech is not None
    ]
    assert min(found) > 0.9


# --- nothing to be found ---------------------------------------------------------------------------------------------


def noise_clip() -> Clip:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (32, 64, 64, 3), dtype=np.uint8)
    return replace(GREY, frames=frames, audio=(0.1 * rng.standard_normal((1, 32_000))).astype(np.float32))


@pytest.mark.parametrize("clip", [pytest.param(GREY, id="grey and silence"), pytest.param(noise_clip(), id="noise")])
def test_nothing_scores_nothing(sample, clip: Clip):
    measured = [(look(clip), listen(clip))] * len(sample.expected)
    values = score(sample.expected, measured)
    for name in ("background", "night", "count", "colour", "shape", "two subjects", "motion", "material", "contacts",
                 "impacts", "voice", "mouth"):  # fmt: skip
        assert np.mean(values[name]) == 0.0, name


def test_a_clip_may_lack_sound_or_frames():
    silent = replace(GREY, audio=None, sample_rate=0)
    assert listen(silent).impacts == () and not listen(silent).voice.present
    assert look(replace(GREY, frames=None, fps=Fraction(0))).subjects == ()


# --- one thing broken ------------------------------------------------------------------------------------------------


def value(name: str, scene: Scene, clip: Clip) -> float:
    measure = next(measure for measure in MEASURES if measure.name == name)
    return float(measure.score(Expectation(scene), look(clip), listen(clip)))


def single(kind: str | None = None, motion: str | None = None, day: bool = True, **wanted):
    """Accepts scenes of one subject."""

    def accepts(scene: Scene) -> bool:
        subject = scene.subjects[0]
        return (
            len(scene.subjects) == 1
            and (kind is None or subject.kind == kind)
            and (motion is None or subject.motion.kind == motion)
            and (not day or not scene.night)
            and all(getattr(subject, key) == item for key, item in wanted.items())
        )

    return accepts


def test_other_colours_fail(scene_with, clips_of):
    scene = scene_with(single(colour="red"))
    clip = clips_of([scene])[0]
    assert value("colour", scene, clip) == 1.0
    orange = clips_of([replace(scene, subjects=(replace(scene.subjects[0], colour="orange"),))])[0]
    assert value("colour", scene, orange) == 0.0


def test_another_place_and_another_time_of_day_fail(scene_with, clips_of):
    scene = scene_with(single())
    other = "desert" if scene.background != "desert" else "beach"
    assert value("background", scene, clips_of([replace(scene, background=other)])[0]) == 0.0
    assert value("night", scene, clips_of([replace(scene, night=True)])[0]) == 0.0


def on_stage(clips_of, scene: Scene, cover_HW: np.ndarray, rgb: tuple[int, int, int]) -> Clip:
    """A still picture of this cover and colour before the scene's empty stage."""
    stage = clips_of([replace(scene, subjects=())])[0]
    frames = stage.frames + cover_HW[..., None] * (np.array(rgb) - stage.frames.astype(np.float32))
    return replace(stage, frames=frames.round().astype(np.uint8))


DISC = np.hypot(*(np.mgrid[0:64, 0:64] + 0.5 - np.array([[[30.0]], [[32.0]]])))
COVERS = {
    "ball": (10.5 - DISC).clip(0, 1),
    "slightly soft ball": (11.0 - DISC).clip(0, 2) / 2,
    "blob": np.exp(-((DISC / 8.0) ** 2)),
    "wide blob": (1.3 - DISC / 12).clip(0, 1),
    "square lying on a corner": (12.0 - np.abs(np.mgrid[0:64, 0:64] + 0.5 - [[[30.0]], [[32.0]]]).sum(0)).clip(0, 1),
    "half a ball": (10.5 - DISC).clip(0, 1) * (np.arange(64) < 32),
    "ellipse": (10.5 - np.hypot(*((np.mgrid[0:64, 0:64] + 0.5 - [[[30.0]], [[32.0]]]) * [[[0.75]], [[1.2]]]))).clip(
        0, 1
    ),
}


@pytest.mark.parametrize("name", COVERS)
def test_the_judge_of_shapes_is_strict(name: str, scene_with, clips_of):
    clip = on_stage(clips_of, scene_with(single()), COVERS[name], (224, 36, 40))
    (subject,) = look(clip).subjects
    assert subject.colour == "red"
    assert (subject.kind == "ball") == ("ball" in name and "half" not in name)
    if "ball" not in name:
        assert subject.kind is None


def test_other_shapes_fail(sample, scene_with, clips_of):
    scene = scene_with(single("star", "jump"))
    assert value("shape", scene, clips_of([scene])[0]) == 1.0
    for kind in ("ball", "box", "heart", "ring", "triangle"):
        other = replace(scene, subjects=(replace(scene.subjects[0], kind=kind),))
        assert value("shape", scene, clips_of([other])[0]) == 0.0


def test_a_face_is_neither_another_face_nor_a_shape(scene_with, clips_of):
    scene = scene_with(lambda scene: scene.subjects[0].kind == "cat" and len(scene.subjects) == 1)
    face = scene.subjects[0]
    for kind in ("person", "robot"):
        other = replace(scene, subjects=(replace(face, kind=kind),))
        assert value("shape", scene, clips_of([other])[0]) == 0.0
    (ball,) = look(
        clips_of([replace(scene, subjects=(replace(face, kind="ball", material="wood", speech=None),))])[0]
    ).subjects
    assert ball.kind == "ball"


def test_a_missing_and_an_extra_subject_fail(scene_with, clips_of):
    scene = scene_with(lambda scene: len(scene.subjects) == 2 and not scene.subjects[0].is_face)
    one = replace(scene, subjects=scene.subjects[:1])
    assert value("count", scene, clips_of([one])[0]) == 0.0
    assert value("two subjects", scene, clips_of([one])[0]) == 0.0
    assert value("count", one, clips_of([scene])[0]) == 0.0


def test_sides_count_where_the_prompt_names_them(scene_with, clips_of):
    scene = scene_with(lambda scene: len(scene.subjects) == 2 and scene.subjects[0].motion.kind == "bounce")
    clip = clips_of([scene])[0]
    mirrored = replace(clip, frames=np.ascontiguousarray(clip.frames[:, :, ::-1]))
    sight, heard = look(mirrored), listen(clip)
    measure = next(measure for measure in MEASURES if measure.name == "colour")
    # The mirrored stage is another one, so only clips whose place is still known can be compared.
    if sight.subjects:
        assert measure.score(Expectation(scene, ordered=True), sight, heard) == 0.0
        assert measure.score(Expectation(scene, ordered=False), sight, heard) == 1.0


@pytest.mark.parametrize("motion", ["bounce", "jump", "fall", "slide", "orbit"])
def test_a_still_picture_does_not_move(motion: str, scene_with, clips_of):
    scene = scene_with(single(motion=motion))
    clip = clips_of([scene])[0]
    assert value("motion", scene, clip) == 1.0
    assert value("motion", scene, replace(clip, frames=np.repeat(clip.frames[:1], 32, 0))) == 0.0


def test_a_slide_to_the_other_side_fails(scene_with, clips_of):
    scene = scene_with(single(motion="slide"))
    clip = clips_of([scene])[0]
    assert value("motion", scene, replace(clip, frames=clip.frames[::-1].copy())) == 0.0


@pytest.mark.parametrize("kind", ["ball", "ring", "star"])
def test_rolling_is_not_sliding(kind: str, scene_with, clips_of):
    scene = scene_with(single(kind, "roll"), split="train")
    assert value("motion", scene, clips_of([scene])[0]) == 1.0
    subject = scene.subjects[0]
    sliding = replace(scene, subjects=(replace(subject, motion=replace(subject.motion, kind="slide")),))
    assert value("motion", scene, clips_of([sliding])[0]) == 0.0
    assert value("motion", sliding, clips_of([sliding])[0]) == 1.0


def test_subjects_that_pass_each_other_do_not_collide(scene_with, clips_of):
    scene = scene_with(lambda scene: scene.subjects[0].motion.kind == "collide")
    assert value("motion", scene, clips_of([scene])[0]) == 1.0
    turned = replace(scene, subjects=tuple(
        replace(subject, motion=replace(subject.motion, kind="slide", start=0.0)) for subject in scene.subjects
    ))  # fmt: skip
    assert value("motion", scene, clips_of([turned])[0]) == 0.0


@pytest.mark.parametrize("material", MATERIALS)
def test_another_material_fails(material: str, scene_with, clips_of):
    scene = scene_with(single(motion="bounce", material=material))
    assert value("material", scene, clips_of([scene])[0]) == 1.0
    for other in set(MATERIALS) - {material}:
        clip = clips_of([replace(scene, subjects=(replace(scene.subjects[0], material=other),))])[0]
        assert value("material", scene, clip) == 0.0


def test_late_sounds_fail(sample):
    """All impacts 200 ms late: what still matches is chance."""
    clips = [
        (scene, clip) for scene, clip in zip(sample.scenes, sample.clips, strict=True)
        if scene.subjects[0].motion.kind in ("fall", "collide") and len(contacts(scene)) == 1
    ]  # fmt: skip
    assert len(clips) >= 5
    for scene, clip in clips[:12]:
        late = replace(clip, audio=np.roll(clip.audio, 3_200, axis=1))
        assert value("contacts", scene, clip) == 1.0
        assert value("contacts", scene, late) == 0.0


def test_a_still_or_a_mute_mouth_fails(scene_with, clips_of):
    scene = scene_with(lambda scene: scene.subjects[0].speech is not None)
    clip = clips_of([scene])[0]
    assert value("mouth", scene, clip) > 0.85
    assert value("mouth", scene, replace(clip, frames=np.repeat(clip.frames[:1], 32, 0))) < 0.3
    assert value("mouth", scene, replace(clip, audio=np.zeros_like(clip.audio))) == 0.0
    assert value("mouth", scene, replace(clip, audio=np.roll(clip.audio, 4_800, axis=1))) < 0.5
    assert mouth_correlation(look(clip), listen(GREY)) == 0.0


def test_the_other_voice_fails(scene_with, clips_of):
    scene = scene_with(lambda scene: len(scene.subjects) == 1 and scene.subjects[0].speech is not None)
    face = scene.subjects[0]
    other = "high" if face.speech.voice == "low" else "low"
    clip = clips_of([replace(scene, subjects=(replace(face, speech=replace(face.speech, voice=other)),))])[0]
    assert value("voice", scene, clip) == 0.0
    assert value("speech", scene, clip) == 1.0
    assert value("speech", scene, clips_of([replace(scene, subjects=(replace(face, speech=None),))])[0]) == 0.0


def test_music_is_heard_or_not(scene_with, clips_of):
    scene = scene_with(lambda scene: scene.melody is not None)
    assert value("music", scene, clips_of([scene])[0]) == 1.0
    assert value("music", scene, clips_of([replace(scene, melody=None)])[0]) == 0.0


# --- other sizes, and the arithmetic ---------------------------------------------------------------------------------


def test_larger_and_wider_clips_are_measured_alike(scene_with, clips_of):
    for height, width in ((128, 128), (64, 112)):
        scenes = [scene_with(lambda scene: not scene.subjects[0].is_face, first=20 * index) for index in range(3)]
        for scene, clip in zip(scenes, clips_of(scenes, height, width), strict=True):
            scene = replace(scene, aspect=width / height)
            for name in ("background", "count", "colour", "shape"):
                assert value(name, scene, clip) == 1.0, (height, width, name)


@pytest.mark.parametrize(
    ("seen", "heard", "matches"),
    [
        ((0.5,), (0.57,), 1),
        ((0.5,), (0.59,), 0),
        ((0.5,), (0.43,), 1),
        ((0.5, 0.56), (0.53,), 1),
        ((0.5, 0.6), (0.45, 0.55), 2),
        ((0.5,), (), 0),
        ((), (0.5,), 0),
        ((0.2, 0.5, 0.9), (0.21, 0.3, 0.5, 0.7, 0.89), 3),
    ],
)
def test_every_sound_serves_one_contact(seen, heard, matches):
    assert contact_matches(seen, heard) == matches
