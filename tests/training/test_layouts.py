"""Layouts of films, held against the world's truth; and the training of a planner. Legend: see models/layout.py."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from openreels.models.layout import CLASSES, MOUTH, RADIUS, THERE, TOUCH, TURN, layout_numbers
from openreels.recipes.pocket import tiny_plan
from openreels.training.layouts import COLOUR_NAMES, KINDS, LAYOUT_CLASSES, layout_of
from openreels.training.plan import load_components
from openreels.training.planner import PlannerTask, new_planner, unseen_rows
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


def test_rows_are_planned_whose_pictures_nobody_has_seen():
    rows = unseen_rows()
    assert {"t2av", "t2i", "multi-shot", "voice-reference"} <= {*rows}
    for row in ROWS.values():
        example = sample_example(row.name, 3)
        shows = example.kept or example.source or example.given or any(r.kind != "audio" for r in example.references)
        assert (row.name in rows) == (row.has_picture and not shows), row.name


def test_a_planner_learns_where_things_are(parts, tmp_path):
    """One scene over and over: after some steps its layout is found out of noise."""
    codecs, encoder = load_components(parts)
    torch.manual_seed(0)
    planner = new_planner(encoder.width)
    task = PlannerTask(planner, encoder, codecs.video, tiny_plan().planned, batch=16)
    drawn = task.draw(0, torch.Generator().manual_seed(0))
    assert drawn[2].shape == (16, 2, 2, layout_numbers(LAYOUT_CLASSES)) and len(drawn[1]) == 16
    again = task.draw(0, torch.Generator().manual_seed(0))
    assert drawn[1] == again[1] and torch.equal(drawn[2], again[2])
    losses = []
    for _ in range(30):
        loss, shown_numbers = task.loss(drawn)
        loss.backward()
        for optimizer in task.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.25 * losses[0] and set(shown_numbers) == {"early", "late"}
