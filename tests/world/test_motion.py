"""Contacts happen where the subject touches the floor, and nowhere else."""

import numpy as np
import pytest

from openreels.world import Motion, contacts, mouth, sample_scene, tracks
from openreels.world.motion import HALF_WIDTH, rest_height

BOUNCE = Motion("bounce", 0.0, start=0.21, period=0.5, height=0.4, restitution=0.9)


def test_contacts_are_the_lowest_points(drawn):
    seen = 0
    for scene in drawn:
        for contact in contacts(scene):
            index = contact.subjects[0]
            if contact.kind == "hit":
                continue
            path = tracks(scene, [contact.time - 0.03, contact.time])
            assert path.y_NT[index, 1] == pytest.approx(rest_height(scene, scene.subjects[index]), abs=1e-9)
            assert path.y_NT[index, 0] < path.y_NT[index, 1]
            seen += 1
    assert seen > 50


def test_bounces_follow_restitution(make_scene, make_shape):
    scene = make_scene(make_shape(motion=BOUNCE), duration=3.0)
    times = [contact.time for contact in contacts(scene)]
    gaps = np.diff(times)
    assert times[0] == BOUNCE.start
    assert gaps[1:] / gaps[:-1] == pytest.approx(BOUNCE.restitution)
    middle = tracks(scene, [times[0] + gaps[0] / 2])
    height = rest_height(scene, scene.subjects[0]) - middle.y_NT[0, 0]
    assert height == pytest.approx(BOUNCE.height * BOUNCE.restitution**2)


def test_motion_is_continuous(drawn):
    times = np.linspace(0, 1.0625, 2000)
    for scene in drawn:
        path = tracks(scene, times)
        assert abs(np.diff(path.x_NT)).max() < 0.01
        assert abs(np.diff(path.y_NT)).max() < 0.01


def test_colliding_outlines_touch_at_the_hit():
    hits = 0
    for seed in range(300):
        scene = sample_scene(seed, duration=1.0625)
        for contact in contacts(scene):
            if contact.kind == "hit":
                path = tracks(scene, [contact.time])
                reach = sum(HALF_WIDTH[s.kind] * s.radius for s in scene.subjects)
                assert abs(path.x_NT[0, 0] - path.x_NT[1, 0]) == pytest.approx(reach)
                hits += 1
    assert hits > 10


def test_rolling_turns_by_the_way_travelled(make_scene, make_shape):
    roll = Motion("roll", -0.3, start=0.1, period=0.8, distance=0.6)
    scene = make_scene(make_shape(motion=roll))
    path = tracks(scene, [0.0, 0.5, 1.0])
    assert path.angle_NT[0] == pytest.approx((path.x_NT[0] + 0.3) / 0.2)
    assert path.x_NT[0, 2] == pytest.approx(0.3)


def test_mouth_opens_once_per_syllable(make_face):
    opening, vowels = mouth(make_face().speech, np.linspace(0, 1, 1001).tolist())
    assert max(opening) == pytest.approx(1.0, abs=1e-3)
    assert opening[100] == opening[550] == 0.0
    assert vowels[300] == "aa"
    assert vowels[700] == "ee"
    assert vowels[100] == ""
