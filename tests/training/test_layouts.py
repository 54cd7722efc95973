"""Layouts of films, held against the world's truth; and the training of a planner. Legend: see models/layout.py."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from openreels.models.layout import CLASSES, MOUTH, RADIUS, THERE, TOUCH, TURN, layout_numbers
from openreels.training.latents import Bucket
from openreels.training.layouts import COLOUR_NAMES, KINDS, LAYOUT_CLASSES, layout_of
from openreels.training.plan import load_components
from openreels.training.planner import PlannerTask, case, in_order_of, new_planner, planned_rows
from openreels.types import VideoShape
from openreels.world import Camera, CameraMove, Film, Shot, contacts, sample_film, sample_scene, truth
from openreels.world.examples import ROWS, sample_example

pytestmark = pytest.mark.usefixtures("one_thread")
FRAMES = 33
SECONDS = FRAMES / 16
SHAPE = VideoShape(FRAMES, 64, 64, Fraction(16), 9, 4, 4, 32)


def shown(scene, **shot) -> Film:
    return Film(0, (Shot(scene, **{"camera": Camera(), "start": 0.0, "duration": SECONDS} | shot),), ())


def scene_with(wanted):
    return next(s for s in (sample_scene(i, duration=SECONDS) for i in range(10_000)) if wanted(s))


def by_frame(layout_FK: torch.Tensor, columns: slice) -> torch.Tensor:
    """The four moments of every latent frame as frames of the clip, (T,)."""
    found_FM = layout_FK[:, columns]
    assert (found_FM[0] == found_FM[0, 0]).all()  # the first latent frame is one frame
    return torch.cat([found_FM[0, :1], found_FM[1:].flatten()])


@pytest.mark.parametrize("kind", ["orbit", "bounce", "roll", "collide"])
def test_places_are_those_of_every_frame(kind):
    scene = scene_with(lambda s: s.subjects[0].motion.kind == kind)
    layout_SFK = layout_of(shown(scene), SHAPE)
    assert layout_SFK.shape == (2, 9, layout_numbers(LAYOUT_CLASSES)) and layout_SFK.dtype == torch.float32
    known = truth(scene, fps=16, frames=FRAMES).subjects
    for subject, true, own_FK in zip(scene.subjects, known, layout_SFK, strict=False):
        assert_close(by_frame(own_FK, slice(0, 4)) + 0.5, torch.tensor(true.x).float(), atol=1e-4, rtol=1e-4)
        assert_close(by_frame(own_FK, slice(4, 8)) + 0.5, torch.tensor(true.y).float(), atol=1e-4, rtol=1e-4)
        assert (own_FK[:, THERE] == 1).all() and (own_FK[:, RADIUS] - subject.radius).abs().max() < 1e-6
        kinds, colours = own_FK[0, CLASSES:].split(LAYOUT_CLASSES)
        assert KINDS[int(kinds.argmax())] == subject.kind and COLOUR_NAMES[int(colours.argmax())] == subject.colour
        assert kinds.sum() == colours.sum() == 1
    assert not layout_SFK[len(scene.subjects) :].any()
    turns = by_frame(layout_SFK[0], slice(TURN.start + 4, TURN.stop))
    assert (turns.abs().max() > 0.1) == (kind == "roll")


def test_touches_and_mouths_are_where_the_world_has_them():
    scene = scene_with(lambda s: len(contacts(s)) >= 2 and len(s.subjects) == 1)
    touch_T = by_frame(layout_of(shown(scene), SHAPE)[0], TOUCH)
    for contact in contacts(scene):
        if contact.time < SECONDS - 0.1:
            assert touch_T[round(contact.time * 16)] >= 0.5 - 1e-5
    near = torch.tensor([min(abs(t / 16 - c.time) for c in contacts(scene)) for t in range(FRAMES)]) < 1 / 16
    assert not touch_T[~near].any()

    scene = scene_with(lambda s: len(s.subjects) == 1 and s.subjects[0].speech is not None)
    mouth_T = torch.tensor(truth(scene, fps=16, frames=FRAMES).subjects[0].mouth).float()
    assert_close(by_frame(layout_of(shown(scene), SHAPE)[0], MOUTH), mouth_T, atol=1e-4, rtol=1e-4)


def test_cameras_take_everything_along():
    scene = scene_with(lambda s: len(s.subjects) == 1 and s.subjects[0].motion.kind == "roll")
    plain_FK = layout_of(shown(scene), SHAPE)[0]
    mirrored_FK = layout_of(shown(scene, camera=Camera(mirrored=True)), SHAPE)[0]
    assert_close(mirrored_FK[:, 0:4], -plain_FK[:, 0:4])
    sines = slice(TURN.start + 4, TURN.stop)
    assert_close(mirrored_FK[:, sines], -plain_FK[:, sines])
    nearer_FK = layout_of(shown(scene, camera=Camera(zoom=2.0)), SHAPE)[0]
    assert_close(nearer_FK[:, [0, 4, RADIUS]], 2 * plain_FK[:, [0, 4, RADIUS]])
    panned_FK = layout_of(shown(scene, move=CameraMove("pan-left", 0.3)), SHAPE)[0]
    assert (panned_FK[-1, 3] - plain_FK[-1, 3]) > 0.1 and panned_FK[0, 0] == plain_FK[0, 0]


def test_of_more_subjects_than_there_is_room_for_those_are_told_that_the_shot_shows():
    film = next(
        f
        for f in map(sample_film, range(1000))
        if any(len(shot.scene.subjects) == 3 and len(shot.seen) in (1, 2) and 0 not in shot.seen for shot in f.shots)
    )
    frames = int(film.duration * 16) // 4 * 4 + 1
    shape = replace(SHAPE, frames=frames, latent_frames=frames // 4 + 1)
    layout_SFK = layout_of(film, shape)
    starts = np.array((0.0, *film.cut_times))
    for latent in range(shape.latent_frames):
        shot = film.shots[int(np.searchsorted(starts, 4 * latent / 16, side="right")) - 1]
        told = {KINDS[int(own[CLASSES : CLASSES + len(KINDS)].argmax())] for own in layout_SFK[:, latent]}
        assert {shot.scene.subjects[index].kind for index in shot.seen[:2]} <= told


def test_rows_are_planned_in_which_nothing_is_edited_and_no_picture_referred_to():
    rows = {*planned_rows(still=False), *planned_rows(still=True)}
    assert {"t2av", "t2i", "multi-shot", "voice-reference", "first-frame", "sound-to-impacts"} <= rows
    assert not {"references-1", "inpaint-subject", "recolour", "t2a-speech"} & rows
    assert planned_rows(still=True) == ("t2i",)
    for row in ROWS.values():
        example = sample_example(row.name, 3)
        shows = example.source or any(r.kind != "audio" for r in example.references)
        assert (row.name in rows) == (row.has_picture and not shows), row.name
        assert example.is_unseen == (not shows and not example.kept and not example.given)


@pytest.mark.parametrize(
    "prompt", ["On the left a ball, on the right a cat.", "左边一只猫，右边一个球。", "A ball and a cat."]
)
def test_subjects_stand_in_the_order_in_which_they_are_named(prompt):
    sided = not prompt.startswith("A ball")
    turned = 0
    for seed in range(40):
        film = shown(sample_scene(seed, duration=SECONDS))
        layout_SFK = layout_of(film, SHAPE)
        found = in_order_of(prompt, film, layout_SFK)
        assert torch.equal(found.sum(0), layout_SFK.sum(0)) and found.shape == layout_SFK.shape
        if sided and (layout_SFK[:, 0, THERE] > 0.5).all():
            assert found[0, 0, 0] <= found[1, 0, 0]
            turned += int(not torch.equal(found, layout_SFK))
        else:
            assert torch.equal(found, layout_SFK)
    assert not sided or turned < 40


def test_a_caption_names_subjects_in_the_order_of_their_layout():
    """Colours of two subjects, counted off in the words, are those of the layout's slots."""
    seen = 0
    for number in range(120):
        prompt, layout_SFK = case(Bucket(33), number, SHAPE)
        slots = [own[own[:, THERE] > 0.5] for own in layout_SFK]
        if not all(len(own) for own in slots):
            continue
        colours = [COLOUR_NAMES[int(own[0, CLASSES + len(KINDS) :].argmax())] for own in slots]
        places = [prompt.lower().find(f" {colour} ") for colour in colours]
        if colours[0] != colours[1] and min(places) >= 0 and "blue" not in colours:  # "light blue" is cyan
            assert places[0] < places[1], prompt
            seen += 1
    assert seen > 5


@pytest.fixture
def task(parts) -> PlannerTask:
    codecs, encoder = load_components(parts)
    torch.manual_seed(0)
    kinds = {Bucket(5): 1.0, Bucket(1): 1.0, Bucket(33, 64, 96, "4:3"): 1.0}
    return PlannerTask(new_planner(encoder.width), encoder, codecs.video, kinds)


def test_cases_are_functions_of_the_generator(task):
    frames, aspects = set(), set()
    for seed in range(24):
        drawn, again = (task.draw(0, torch.Generator().manual_seed(seed)) for _ in range(2))
        assert drawn.prompts == again.prompts and torch.equal(drawn.layout_BSFK, again.layout_BSFK)
        assert len(set(drawn.prompts)) > len(drawn.prompts) // 2
        assert drawn.layout_BSFK.shape == drawn.noise_BSFK.shape == (len(drawn.time_B), 2, *drawn.layout_BSFK.shape[2:])
        assert torch.equal(drawn.layout_BSFK[0], drawn.layout_BSFK[1])  # several noised ones of each case
        assert drawn.layout_BSFK[:, 0, :, THERE].mean() > 0.8
        frames.add(drawn.layout_BSFK.shape[2])
        aspects.add(drawn.aspect)
    assert frames == {1, 2, 9} and aspects == {1.0, 1.5}


def test_a_planner_learns_where_things_are(task):
    """The same cases over and over: after some steps their layouts are found out of noise."""
    drawn, losses = task.draw(0, torch.Generator().manual_seed(0)), []
    for _ in range(30):
        loss, numbers = task.loss(drawn)
        loss.backward()
        for optimizer in task.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.4 * losses[0] and set(numbers) == {"early", "late"}
    assert all(p.grad is None for p in task.encoder.model.parameters())
