"""Films: plain data, cuts that are what they are called, one story time, cameras that show the same world."""

import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from openreels.world import (
    CUTS,
    Camera,
    Film,
    Shot,
    cut_frames,
    film_captions,
    film_frames,
    masks,
    render,
    render_film,
    render_frames,
    render_sound,
    sample_film,
    sample_scene,
)

SIZE = {"height": 64, "width": 64}


def area(shot, subject, time):
    """Share of the picture that a subject covers."""
    found = masks([shot.scene], fps=1, frames=1, start=time, camera=shot.camera, **SIZE)[0, subject, 0]
    return found.float().mean().item()


def around_cuts(kind, count=6):
    """(shot before, shot after, time of the cut) of films whose first cut is of this kind."""
    for seed in range(count):
        film = sample_film(seed, cuts=[kind])
        assert film.cuts == (kind,)
        yield *film.shots, film.cut_times[0]


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_a_film_is_its_seed_and_its_json(split):
    for seed in range(40):
        film = sample_film(seed, aspect=16 / 9, split=split)
        assert film == sample_film(seed, aspect=16 / 9, split=split)
        assert Film.from_json(film.to_json()) == film
        assert film.seed == seed and len(film.cuts) == len(film.shots) - 1


def test_films_of_all_kinds_and_lengths():
    films = [sample_film(seed) for seed in range(200)]
    cuts = [kind for film in films for kind in film.cuts]
    assert set(cuts) == set(CUTS) and min(map(cuts.count, CUTS)) > 15
    assert {len(film.shots) for film in films} == {1, 2, 3, 4}
    for film in films:
        first = film.shots[0].scene.subjects[0]
        assert first.motion.kind != "still" or first.is_face
        assert film.shots[0].seen  # there is always something to cut from


def test_time_goes_on_over_a_cut():
    for seed in range(20):
        film = sample_film(seed)
        assert [shot.start for shot in film.shots[1:]] == pytest.approx(film.cut_times)
        assert film.duration == pytest.approx(film.shots[-1].start + film.shots[-1].duration)


@pytest.mark.parametrize("wrong", ["fade", "single-shot", "Cut-In"])
def test_an_unknown_cut_is_refused(wrong):
    with pytest.raises(ValueError, match=f"one of cut-in, .*not '{wrong}'"):
        sample_film(0, cuts=[wrong])


# -- what the kinds mean ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "nearer"), [("cut-in", True), ("cut-out", False)])
def test_near_and_far(kind, nearer):
    for before, after, time in around_cuts(kind):
        assert after.scene == before.scene
        wide, near = (before, after) if nearer else (after, before)
        subject = next(iter(near.seen))
        assert near.camera.zoom >= 1.44 * wide.camera.zoom
        assert area(near, subject, time) > area(wide, subject, time) > 0
        assert (wide.camera.mirrored, wide.camera.turn) == (near.camera.mirrored, near.camera.turn)


def test_another_angle_shows_the_same_subject_on_the_other_side():
    for before, after, time in around_cuts("multi-angle"):
        assert after.scene == before.scene and set(before.seen) & set(after.seen)
        assert (before.camera.mirrored, before.camera.turn) != (after.camera.mirrored, after.camera.turn)
        assert 0.4 < area(after, 0, time) / area(before, 0, time) < 2.5


def test_a_reverse_shot_shows_the_other_speaker_who_has_the_word():
    for before, after, time in around_cuts("shot-reverse-shot"):
        (speaker,), (other,) = before.seen, after.seen
        assert speaker != other and all(subject.is_face for subject in before.scene.subjects[:2])
        for syllable in before.scene.subjects[speaker].speech.syllables:
            assert syllable.start + syllable.duration <= time
        assert all(syllable.start >= time for syllable in before.scene.subjects[other].speech.syllables)
        # Each looks towards the other, so one stands on the left of the picture and one on the right.
        left, right = sorted((before, after), key=lambda shot: shot.scene.subjects[shot.seen[0]].motion.x)
        x_left, x_right = (
            shot.camera.to_view(shot.scene.subjects[shot.seen[0]].motion.x, 0)[0] for shot in (left, right)
        )
        assert x_left <= 0 <= x_right


def test_a_cut_away_shows_nothing_of_what_was_seen():
    places = set()
    for before, after, _ in around_cuts("cut-away", 30):
        if after.scene.background == before.scene.background:
            assert not set(before.seen) & set(after.seen)
            places.add("a subject" if after.seen else "nobody")
        else:
            places.add("another place")
    assert places == {"a subject", "nobody", "another place"}


# -- pictures and sound -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def film():
    return sample_film(3, cuts=["cut-in", "multi-angle", "cut-out"])


def test_one_straight_shot_is_its_scene():
    scene = sample_scene(5, duration=1.0)
    film = Film(0, (Shot(scene, Camera(), 0.0, 1.0),), ())
    made, truth = render_film(film, **SIZE), render([scene], frames=16, **SIZE)
    assert np.array_equal(made.frames, truth.frames[0].numpy())
    assert np.array_equal(made.audio, truth.audio.numpy())
    assert (made.fps, made.sample_rate) == (Fraction(16), truth.sample_rate)


def test_every_frame_is_seen_by_its_shots_camera(film):
    frames = film_frames(film, fps=16, **SIZE)
    assert len(frames) == round(film.duration * 16)
    borders = [0, *cut_frames(film, 16), len(frames)]
    for shot, begun, first, last in zip(film.shots, (0, *film.cut_times), borders[:-1], borders[1:], strict=True):
        for frame in (first, last - 1):
            time = shot.start + frame / 16 - begun
            seen = render_frames([shot.scene], fps=16, frames=1, start=time, camera=shot.camera, **SIZE)[0, 0]
            assert torch.equal(frames[frame], seen)
    assert cut_frames(film, 16)[0] / 16 >= film.cut_times[0] > (cut_frames(film, 16)[0] - 1) / 16


def test_a_part_of_a_film_is_that_part(film):
    whole = film_frames(film, fps=16, **SIZE)
    assert torch.equal(film_frames(film, fps=16, **SIZE, first=9, last=40), whole[9:40])


def test_sound_goes_on_over_a_cut(film):
    made = render_film(film, **SIZE)
    whole = render_sound([film.shots[0].scene], samples=made.audio.shape[1])
    assert np.array_equal(made.audio, whole.numpy())


def test_a_mirrored_camera_shows_the_mirror_image():
    scene = sample_scene(1, duration=1.0, aspect=16 / 9)
    size = {"fps": 8, "frames": 4, "height": 64, "width": 114}
    camera = Camera(x=0.2, y=-0.1, zoom=1.7)
    for draw in (render_frames, masks):
        straight = draw([scene], **size, camera=camera)
        mirrored = draw([scene], **size, camera=replace(camera, mirrored=True))
        assert torch.equal(mirrored, straight.flip(3 if draw is render_frames else 4))


def test_places_lie_where_the_camera_says(make_scene, make_shape):
    scene = make_scene(make_shape("ball"))
    for camera in (Camera(), Camera(0.1, 0.2, 1.5), Camera(-0.1, 0.3, 0.6, mirrored=True)):
        mask = masks([scene], fps=1, frames=1, **SIZE, camera=camera)[0, 0, 0]
        rows, columns = mask.nonzero(as_tuple=True)
        x, y = camera.to_view(0.0, scene.floor - 0.2)  # a ball of this radius stands on the floor
        assert columns.float().mean().item() == pytest.approx((x + 0.5) * 64 - 0.5, abs=0.6)
        assert rows.float().mean().item() == pytest.approx((y + 0.5) * 64 - 0.5, abs=0.6)


def test_turning_changes_what_is_behind_and_nothing_else(make_scene, make_shape):
    scene = make_scene(make_shape("ball", material="wood"), background="city")
    straight, turned = (
        render_frames([scene], fps=1, frames=1, **SIZE, camera=camera)[0, 0] for camera in (Camera(), Camera(turn=40))
    )
    subject = masks([scene], fps=1, frames=1, **SIZE)[0, 0, 0]
    differs = (straight != turned).any(-1)
    inner = torch.nn.functional.max_pool2d((~subject).float()[None, None], 5, 1, 2)[0, 0] == 0
    assert differs.any() and not differs[inner].any()


# -- captions ---------------------------------------------------------------------------------------------------------

NAMED_EN = {
    "cut-in": "cuts in|up close|cuts closer",
    "cut-out": "cuts out|wide view",
    "multi-angle": "angle|other side",
    "shot-reverse-shot": "opposite|reverse shot|other side of the conversation",
    "cut-away": "cuts away|elsewhere",
}
NAMED_ZH = {
    "cut-in": "切近|特写",
    "cut-out": "切远|远景|全景",
    "multi-angle": "角度|另一侧",
    "shot-reverse-shot": "对面|反打",
    "cut-away": "别处|转向|切走",
}


def test_captions_name_every_cut_in_order():
    for seed in range(120):
        film = sample_film(seed)
        said = film_captions(film, seed)
        pattern = ".*".join(["", *(f"({NAMED_EN[kind]})" for kind in film.cuts), ""])
        assert re.search(pattern, said.en), (film.cuts, said.en)
        assert re.search(".*".join(f"({NAMED_ZH[kind]})" for kind in film.cuts), said.zh), (film.cuts, said.zh)
        assert said.en.endswith(".") and said.zh.endswith("。")
        assert said == film_captions(film, seed)


def test_captions_are_worded_in_many_ways():
    film = sample_film(1, cuts=["cut-in"])
    said = [film_captions(film, seed) for seed in range(30)]
    assert len({each.en for each in said}) > 20 and len({each.zh for each in said}) > 20
