"""Cases as media: sizes, one by one as together, exact outside of regions, references unlike any part of the target."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from openreels.world import Camera, film_frames, masks, render_film
from openreels.world.examples import ROWS, sample_example, show, show_many

FRAMES = 33
SIZE = {"height": 48, "width": 48}
REGIONS = [name for name, row in ROWS.items() if row.group == "inpainting"]


@cache
def cases(seed=0):
    """One of every row."""
    return tuple(sample_example(name, seed) for name in ROWS)


@cache
def shown(seed=0):
    return dict(zip(ROWS, show_many(cases(seed), frames=FRAMES, **SIZE), strict=True))


def example_of(name, seed=0):
    return cases(seed)[list(ROWS).index(name)]


def apart(one, other):
    return (one.float() - other.float()).abs().mean().item()


def test_every_row_has_what_it_says():
    for name, example in zip(ROWS, cases(), strict=True):
        row, media = ROWS[name], shown()[name]
        frames = 1 if row.still else FRAMES
        if row.has_picture:
            assert media.frames.shape == (frames, 48, 48, 3) and media.frames.dtype == torch.uint8
        else:
            assert media.frames is None
        if row.has_sound:
            assert media.audio.shape == (33_000,) and media.audio.abs().max() > 0.005, name
        else:
            assert media.audio is None
        assert media.keep.shape == (frames, 48, 48) and media.keep.dtype == torch.bool
        assert (media.source_frames is None) == (media.source_audio is None) == (example.source is None)
        assert (media.regenerate is None) == (example.region is None)
        kinds = {"image": (1, 48, 48, 3), "video": (FRAMES, 48, 48, 3), "audio": (33_000,)}
        assert [each.shape for each in media.references] == [kinds[each.kind] for each in example.references]
        if not example.kept and example.region is None:
            assert not media.keep.any()


def test_together_as_one_by_one():
    for name in ("references-4", "storyboard", "inpaint-two-references", "camera", "multi-shot", "speakers"):
        alone, among = show(example_of(name), frames=FRAMES, **SIZE), shown()[name]
        assert torch.equal(alone.frames, among.frames) and torch.equal(alone.audio, among.audio)
        assert all(torch.equal(a, b) for a, b in zip(alone.references, among.references, strict=True))


@pytest.mark.parametrize("name", ["t2av", "camera", "multi-shot", "extension-cut-away", "effect-reference"])
def test_a_target_is_its_film(name):
    film, media = example_of(name).target, shown()[name]
    assert torch.equal(media.frames, film_frames(film, fps=16, **SIZE))
    assert torch.equal(media.audio, torch.from_numpy(render_film(film, **SIZE).audio[0]))


def test_a_still_is_a_moment_of_its_scene():
    still = example_of("t2i").target
    assert still.duration == pytest.approx(1 / 16) and still.shots[0].start > 0
    assert torch.equal(shown()["t2i"].frames, film_frames(still, fps=16, **SIZE))


def test_other_canvases():
    example = sample_example("inpaint-moving", 0, aspect=4 / 3)
    media = show(example, frames=9, height=64, width=96, safe_height=64, safe_width=86)
    assert media.frames.shape == (9, 64, 96, 3) and media.regenerate.shape == (9, 64, 96)


# -- what is kept -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, kept", [
    ("first-frame", [0]), ("last-frame", [32]), ("first-and-last-frame", [0, 32]), ("extension", [*range(13)]),
])  # fmt: skip
def test_kept_frames(name, kept):
    keep = shown()[name].keep
    assert keep.all((1, 2)).nonzero().flatten().tolist() == kept and keep.any((1, 2)).sum() == len(kept)


@pytest.mark.parametrize("name", ["extension-cut-in", "extension-shot-reverse-shot", "extension-cut-away"])
def test_an_extension_keeps_all_before_its_cut(name):
    for seed in range(3):
        media = show(sample_example(name, seed), frames=FRAMES, **SIZE)
        kept = int(media.keep.all((1, 2)).sum())
        assert kept in (13, 17) and media.keep[:kept].all() and not media.keep[kept:].any()
        steps = [apart(a, b) for a, b in zip(media.frames, media.frames[1:], strict=False)]
        assert max(range(32), key=steps.__getitem__) == kept - 1


# -- regions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGIONS)
def test_outside_of_a_region_the_target_is_the_source(name):
    for seed in range(3):
        example = sample_example(name, seed)
        media = show(example, frames=FRAMES, **SIZE)
        outside = ~media.regenerate
        assert torch.equal(media.frames[outside], media.source_frames[outside])
        assert torch.equal(media.keep, outside)
        assert 0.01 < media.regenerate.float().mean() < 0.97
        assert apart(media.frames, media.source_frames) > 0.5
        # And that is no trick of the compositing: the two films differ nowhere else, but for rims of a kept subject.
        film = film_frames(example.target, fps=16, **SIZE)
        if not example.region.inverted:
            assert torch.equal(film, media.frames)
        else:
            assert apart(film[outside], media.frames[outside]) < 1.0


def test_what_is_kept_is_the_source_even_where_the_films_differ():
    example = example_of("inpaint-background")
    (shot,) = example.target.shots
    other = replace(shot, scene=replace(shot.scene, night=not shot.scene.night))  # subjects are a little darker
    example = replace(example, target=replace(example.target, shots=(other,)))
    media = show(example, frames=FRAMES, **SIZE)
    assert torch.equal(media.frames[media.keep], media.source_frames[media.keep])
    assert not torch.equal(film_frames(example.target, fps=16, **SIZE)[media.keep], media.frames[media.keep])


def test_regions_cover_their_subjects_in_both():
    for name in REGIONS:
        example, media = example_of(name), shown()[name]
        if example.region.inverted:
            continue
        for film in (example.source, example.target):
            found = masks([film.shots[0].scene], fps=16, frames=FRAMES, **SIZE)[0, list(example.region.subjects)]
            assert media.regenerate[found.any(0)].all()


def test_a_region_that_stands_still_is_a_box():
    for seed in range(4):
        region = show(sample_example("inpaint-subject", seed), frames=FRAMES, **SIZE).regenerate
        assert torch.equal(region, region[:1].expand_as(region))
        rows, columns = region[0].any(1), region[0].any(0)
        assert torch.equal(region[0], rows[:, None] & columns)


def test_a_region_that_moves_follows():
    for seed in range(20):
        example = sample_example("inpaint-moving", seed)
        if example.target.shots[0].scene.subjects[0].motion.kind == "slide":
            region = show(example, frames=FRAMES, **SIZE).regenerate
            assert not torch.equal(region[0], region[-1]) and region.float().mean() < 0.5
            return
    raise AssertionError


def test_a_region_needs_a_straight_view():
    example = example_of("inpaint-moving")
    (shot,) = example.target.shots
    moved = replace(example, target=replace(example.target, shots=(replace(shot, camera=Camera(zoom=2.0)),)))
    with pytest.raises(ValueError, match="seen straight"):
        show(moved, frames=FRAMES, **SIZE)


# -- pairs and references ---------------------------------------------------------------------------------------------

SMALLEST = {"tone": 3.0, "style": 3.0, "night": 3.0, "edit-background": 3.0, "camera": 1.0, "weather": 1.0}


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.group == "editing"])
def test_an_edit_can_be_seen(name):
    for seed in range(3):
        media = show(sample_example(name, seed), frames=FRAMES, **SIZE)
        assert apart(media.frames, media.source_frames) > SMALLEST.get(name, 0.2)


def test_local_edits_leave_the_rest_alone():
    for name in ("recolour", "repattern", "accessory", "remove-watermark", "remove-subtitle", "remove-logo"):
        media = shown()[name]
        assert (media.frames == media.source_frames).all(-1).float().mean() > 0.4, name


@pytest.mark.parametrize("name", [f"references-{count}" for count in range(1, 5)] + ["storyboard", "inpaint-reference"])
def test_a_reference_is_no_part_of_the_target(name):
    for seed in range(2):
        media = show(sample_example(name, seed), frames=FRAMES, **SIZE)
        for picture in media.references:
            assert min(apart(picture[0], frame) for frame in media.frames) > 2.0


def test_the_first_frame_under_an_effect():
    media = shown()["effect-reference"]
    assert torch.equal(media.references[0][0], media.frames[0])
    plain = example_of("effect-reference").target
    (shot,) = plain.shots
    without = replace(plain, shots=(replace(shot, scene=replace(shot.scene, effect=None)),))
    bare = film_frames(without, fps=16, **SIZE)
    assert torch.equal(bare[0], media.frames[0]) and apart(bare[-1], media.frames[-1]) > 1.0


def test_a_page_is_read_like_one():
    for seed in range(10):
        example = sample_example("storyboard", seed)
        (page,) = show(example, frames=FRAMES, **SIZE).references
        for index, film in enumerate(example.references[0].films):
            row, column = divmod(index, 2)
            panel = page[0, row * 24 : row * 24 + 24, column * 24 : column * 24 + 24]
            assert torch.equal(panel, film_frames(film, fps=16, height=24, width=24, last=1)[0])
        if len(example.references[0].films) < 4:
            assert not page[0, 24:, 24:].any()


def test_what_is_muted_is_silent():
    media = shown()["voice-reference"]
    loud = media.references[0].abs()
    assert loud.max() > 0.05 and (loud < 1e-4).float().mean() > 0.1  # pauses without any ambience
