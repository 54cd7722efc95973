"""What tokens hold, held against what the world draws and plays. Legend: see training/token_truth.py."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from openreels.training.token_truth import (
    NONE,
    SLOTS,
    TokenHeads,
    TokenTruth,
    heard,
    overheard,
    seen,
    token_error,
)
from openreels.types import AudioShape, VideoShape
from openreels.world import Camera, CameraMove, Film, Shot, contacts, masks, sample_film, sample_scene, truth

FRAMES = 33
SECONDS = FRAMES / 16
SHAPE = VideoShape(FRAMES, 64, 64, Fraction(16), 9, 4, 4, 32)
STILL = replace(SHAPE, frames=1, latent_frames=1)
SOUND = AudioShape(FRAMES * 1000, 16_000, FRAMES, 20)
KIND, COLOUR, MOTION = range(3)


def shown(scene, **shot) -> Film:
    return Film(0, (Shot(scene, **{"camera": Camera(), "start": 0.0, "duration": SECONDS} | shot),), ())


def scene_with(wanted, seed: int = 0, duration: float = SECONDS):
    return next(s for s in (sample_scene(seed + i, duration=duration) for i in range(10_000)) if wanted(s))


def name(stream: str, slot: str, number: int) -> str:
    return SLOTS[stream][slot][number]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_tokens_that_a_subject_fills_are_named_after_it(seed):
    scene = sample_scene(seed, duration=SECONDS)
    drawn_SHW = masks([scene], fps=16, frames=1, height=64, width=64)[0, :, 0]
    cover_SYX = drawn_SHW.float().unfold(1, 16, 16).unfold(2, 16, 16).mean((-1, -2))
    classes_YXK = seen(shown(scene), STILL, (64, 64)).classes_BNK.view(4, 4, 3)
    for subject, cover_YX in zip(scene.subjects, cover_SYX, strict=True):
        alone_YX = (cover_YX > 0.5) & (cover_SYX.sum(0) == cover_YX)
        assert {name("video", "kind", k) for k in classes_YXK[..., KIND][alone_YX].tolist()} <= {subject.kind}
        assert {name("video", "colour", k) for k in classes_YXK[..., COLOUR][alone_YX].tolist()} <= {subject.colour}
    # Nothing is named far from all subjects: a token names what comes within half its side.
    wide_YX = torch.nn.functional.max_pool2d(cover_SYX.amax(0)[None], 3, 1, 1)[0]
    assert (classes_YXK[wide_YX == 0] == 0).all()


@pytest.mark.parametrize("window", [(64, 64), (64, 128), (96, 64)])
def test_numbers_lead_to_the_middle_and_tell_where_it_goes(window):
    height, width = window
    scene = scene_with(lambda s: len(s.subjects) == 1 and s.subjects[0].motion.kind == "orbit")
    scene = replace(scene, aspect=width / height)
    shape = replace(SHAPE, height=height, width=width, latent_height=height // 16, latent_width=width // 16)
    found = seen(shown(scene), shape, window)
    classes = found.classes_BNK.view(9, shape.latent_height, shape.latent_width, 3)
    numbers = found.numbers_BNP.view(9, shape.latent_height, shape.latent_width, 4)
    subject = truth(scene, fps=16, frames=FRAMES).subjects[0]
    place_T2 = np.stack([np.array(subject.x) * width, np.array(subject.y) * height], -1) / 16
    for frame, row, column in classes[..., KIND].nonzero().tolist():
        first, last = max(4 * frame - 3, 0), 4 * frame
        middle = (place_T2[first] + place_T2[last]) / 2 - np.array([column + 0.5, row + 0.5])
        expected = torch.tensor([*middle, *(place_T2[last] - place_T2[first])], dtype=torch.float32)
        assert_close(numbers[frame, row, column], expected, atol=1e-4, rtol=1e-4)


def test_a_view_from_behind_turns_the_way_round():
    scene = scene_with(lambda s: len(s.subjects) == 1 and s.subjects[0].motion.kind == "slide")
    ways = []
    for mirrored in (False, True):
        found = seen(shown(scene, camera=Camera(mirrored=mirrored)), SHAPE, (64, 64))
        named = found.classes_BNK[..., KIND] > 0
        ways.append({name("video", "motion", k) for k in found.classes_BNK[..., MOTION][named].tolist()})
        moved = found.numbers_BNP[named][:, 2].sum()
        assert ways[-1] == {"slide right" if moved > 0 else "slide left"}
    assert ways[0] != ways[1]


def test_a_camera_that_moves_takes_the_subject_along():
    scene = scene_with(lambda s: len(s.subjects) == 1 and s.subjects[0].motion.kind == "still")
    found = seen(shown(scene, move=CameraMove("pan-left", 0.3)), SHAPE, (64, 64))
    going = found.numbers_BNP[found.classes_BNK[..., KIND] > 0][:, 2]
    assert (going >= 0).all() and going.max() > 0  # what stands goes right in a picture that pans left


def test_shots_show_their_own_subjects():
    film = next(f for f in map(sample_film, range(1000)) if f.cuts == ("cut-away",) and f.duration > 1.9)
    shape = replace(SHAPE, frames=29, latent_frames=8)
    classes = seen(film, shape, (64, 64)).classes_BNK.view(8, 16, 3)
    for latent in range(8):
        shot = film.shots[int(4 * latent / 16 >= film.cut_times[0])]
        kinds = {name("video", "kind", k) for k in classes[latent, :, KIND].tolist()} - {NONE}
        assert kinds <= {subject.kind for subject in shot.scene.subjects}


def test_hits_are_in_their_tokens_and_silence_in_the_others():
    scene = scene_with(lambda s: len(contacts(s)) >= 2 and len(s.subjects) == 1)
    impact_N = heard(shown(scene), SOUND).classes_BNK[:, 1]
    hits = {int(contact.time * 16) for contact in contacts(scene) if contact.time < SECONDS}
    assert set(impact_N.nonzero().flatten().tolist()) == hits
    assert {name("audio", "impact", k) for k in impact_N[sorted(hits)].tolist()} == {scene.subjects[0].material}
    assert not heard(shown(replace(scene, muted=("effects",))), SOUND).classes_BNK.any()
    # The same moment, seen later: everything comes earlier.
    later_N = heard(shown(scene, start=0.25), SOUND).classes_BNK[:, 1]
    assert_close(later_N[: FRAMES - 4], impact_N[4:])


def test_a_voice_is_where_its_mouth_is_open():
    scene = scene_with(lambda s: len(s.subjects) == 1 and s.subjects[0].is_face)
    found = heard(shown(scene), SOUND)
    spoken = found.classes_BNK[:, 0] > 0
    assert {name("audio", "voice", k) for k in found.classes_BNK[spoken, 0].tolist()} == {
        scene.subjects[0].speech.voice
    }
    assert (found.numbers_BNP[spoken] > 0.1).all() and (found.numbers_BNP[~spoken] <= 0.1).all()
    assert not heard(shown(replace(scene, muted=("speech",))), SOUND).numbers_BNP.any()


def test_errors_count_what_is_generated_and_numbers_where_something_is():
    true = TokenTruth(torch.tensor([[[1, 2], [0, 0], [2, 1]]]), torch.tensor([[[0.5], [0.0], [1.0]]]))
    sure = [20.0 * torch.nn.functional.one_hot(true.classes_BNK[..., k], 5).float() for k in range(2)]
    everything, numbers = torch.ones(1, 3), true.numbers_BNP.clone()
    loss, right = token_error((sure, numbers), true, everything)
    assert loss < 1e-6 and right == 1
    numbers[0, 1] = 9.0  # nothing is there, so no number either
    assert token_error((sure, numbers), true, everything)[0] < 1e-6
    sure[1][0, 2] = sure[1][0, 2].roll(1)  # the last token wrong in one slot
    assert token_error((sure, numbers), true, everything)[1] == 0.5
    assert token_error((sure, numbers), true, torch.tensor([[1.0, 1.0, 0.0]]))[0] < 1e-6
    nothing = token_error((sure, numbers), true, torch.zeros(1, 3))
    assert nothing[0] == 0 and nothing[1] == 0


def test_a_layer_is_overheard_only_for_a_while():
    layer = torch.nn.Linear(2, 3)
    with overheard(layer) as outputs:
        result = layer(torch.ones(1, 2))
    layer(torch.ones(1, 2))
    assert len(outputs) == 1 and outputs[0] is result


def test_heads_have_a_say_on_every_slot():
    for stream, slots in SLOTS.items():
        logits, numbers = TokenHeads(8, stream)(torch.randn(2, 5, 8))
        assert [each.shape for each in logits] == [(2, 5, len(names)) for names in slots.values()]
        assert numbers.shape[:2] == (2, 5)
