"""Scenes are plain data: drawn the same again, kept by JSON, and split as promised."""

import pickle
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openreels.world import BACKGROUNDS, COLOURS, FACES, SHAPES, Scene, held_out, sample_scene, tracks
from openreels.world.sampling import possible_motions

seeds = st.integers(0, 2**31)
splits = st.sampled_from(["train", "held_out"])


def triples(scene):
    return [(s.colour, s.kind, s.motion.kind) for s in scene.subjects]


@given(seeds, st.floats(0.3, 12.0), st.sampled_from([1.0, 86 / 64, 114 / 64, 64 / 86, 64 / 114]), splits)
@settings(max_examples=60, deadline=None)
def test_json_keeps_every_bit(seed, duration, aspect, split):
    scene = sample_scene(seed, duration=duration, aspect=aspect, split=split)
    assert Scene.from_json(scene.to_json()) == scene
    assert pickle.loads(pickle.dumps(scene)) == scene  # travels to the worker processes of a data loader
    assert sample_scene(seed, duration=duration, aspect=aspect, split=split) == scene


@given(seeds)
@settings(max_examples=150, deadline=None)
def test_splits_are_disjoint(seed):
    assert not any(held_out(*triple) for triple in triples(sample_scene(seed, duration=1.0)))
    assert any(held_out(*triple) for triple in triples(sample_scene(seed, duration=1.0, split="held_out")))


def test_held_out_share_is_about_a_tenth_and_hides_no_single_attribute():
    every = [(c, k, m) for k in SHAPES + FACES for m in possible_motions(k) for c in COLOURS]
    kept = [triple for triple in every if not held_out(*triple)]
    assert 0.05 < 1 - len(kept) / len(every) < 0.16
    for part in ((0, 1), (1, 2), (0, 2)):  # even each pair of attributes stays in training
        pairs = {(triple[part[0]], triple[part[1]]) for triple in kept}
        missing = {(triple[part[0]], triple[part[1]]) for triple in every} - pairs
        assert all(set(pair) & set(FACES) for pair in missing)  # a face has one motion only


def test_shares_of_the_sorts_of_scenes():
    scenes = [sample_scene(seed, duration=1.0) for seed in range(2000)]
    pairs = sum(len(scene.subjects) == 2 for scene in scenes) / 2000
    talking = sum(any(s.speech for s in scene.subjects) for scene in scenes) / 2000
    music = sum(scene.melody is not None for scene in scenes) / 2000
    assert 0.25 < pairs < 0.33
    assert 0.23 < talking < 0.31
    assert 0.09 < music < 0.15
    counts = Counter(scene.background for scene in scenes)
    assert set(counts) == set(BACKGROUNDS)
    assert min(counts.values()) > 250
    assert {s.colour for scene in scenes for s in scene.subjects} == set(COLOURS)
    for scene in scenes:
        assert len({s.colour for s in scene.subjects}) == len(scene.subjects)


def test_of_two_subjects_the_first_stands_on_either_side():
    """A face too: what is told of the left and of the right shall be learnt of everybody."""
    sides = {True: [], False: []}
    for seed in range(1000):
        subjects = sample_scene(seed, duration=2.0).subjects
        if len(subjects) == 2 and subjects[0].motion.kind != "collide":
            sides[subjects[0].is_face].append(subjects[0].motion.x < subjects[1].motion.x)
    assert all(len(found) > 20 and 0.3 < sum(found) / len(found) < 0.7 for found in sides.values())


@pytest.mark.parametrize("aspect", [1.0, 114 / 64, 64 / 114])
def test_subjects_stay_in_view(aspect):
    for seed in range(150):
        scene = sample_scene(seed, duration=1.0625, aspect=aspect)
        path = tracks(scene, [i / 16 for i in range(17)])
        # A collision starts half outside; everything else shows its centre with room around it.
        room = 0.0 if scene.subjects[0].motion.kind == "collide" else 0.1
        assert (abs(path.x_NT) < scene.width / 2 - room).all()
        assert (path.y_NT > -scene.height / 2 + room).all()
        assert (path.y_NT < scene.floor + 0.01).all()
