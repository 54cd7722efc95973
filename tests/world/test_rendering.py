"""Pictures: the same bytes alone or in a batch, true to the script in place and colour, at any size."""

import numpy as np
import pytest
import torch

from openreels.world import (
    BACKGROUNDS,
    COLOURS,
    FACES,
    SHAPES,
    Motion,
    masks,
    mouth,
    render,
    render_frames,
    rendering,
    sample_scene,
    tracks,
)

SIZE = {"fps": 16, "frames": 17, "height": 64, "width": 64}


def test_a_scene_alone_gives_the_same_bytes(drawn, clips):
    for index, scene in enumerate(drawn):
        alone = render([scene], frames=17, height=64, width=64)
        assert torch.equal(alone.frames[0], clips.frames[index])
        assert torch.equal(alone.audio[0], clips.audio[index])


def test_threads_and_chunks_change_nothing(drawn, clips, monkeypatch):
    monkeypatch.setitem(rendering.CHUNK_PIXELS, "cpu", 3 * 17 * 64 * 64)
    torch.set_num_threads(2)
    again = render_frames(drawn[:7], **SIZE)
    torch.set_num_threads(1)
    assert torch.equal(again, clips.frames[:7])


def test_later_start_is_the_same_world(drawn, clips):
    late = render_frames(drawn[:16], **{**SIZE, "frames": 5}, start=12 / 16)
    assert torch.equal(late, clips.frames[:16, 12:])
    double = render_frames(drawn[:16], **{**SIZE, "fps": 32, "frames": 33})
    assert torch.equal(double[:, ::2], clips.frames[:16])


@pytest.mark.parametrize(
    ("height", "width"), [(64, 64), (64, 86), (64, 114), (86, 64), (114, 64), (50, 70), (160, 160)]
)
def test_any_size(height, width):
    scenes = [sample_scene(seed, duration=0.5, aspect=width / height) for seed in range(12)]
    clip = render(scenes, fps=8, frames=4, height=height, width=width)
    assert clip.frames.shape == (12, 4, height, width, 3)
    assert clip.frames.dtype == torch.uint8
    assert clip.audio.shape == (12, 8000)
    assert clip.frames.float().std(dim=(1, 2, 3, 4)).min() > 10


@pytest.mark.parametrize(("height", "width", "safe_height", "safe_width"), [(64, 96, 64, 86), (128, 64, 114, 64)])
def test_the_padded_canvas_only_shows_more(height, width, safe_height, safe_width):
    scenes = [sample_scene(seed, duration=1.0, aspect=safe_width / safe_height) for seed in range(24)]
    size = {"fps": 16, "frames": 9}
    inner = render_frames(scenes, **size, height=safe_height, width=safe_width)
    canvas = render_frames(scenes, **size, height=height, width=width, safe_height=safe_height, safe_width=safe_width)
    top, left = (height - safe_height) // 2, (width - safe_width) // 2
    cut = canvas[:, :, top : top + safe_height, left : left + safe_width]
    # Not to the byte: the same place is another number on the larger canvas, and edges round by it.
    difference = (cut.int() - inner.int()).abs()
    assert difference.max() <= 2
    assert (difference > 0).float().mean() < 1e-3


def test_masks_cover_the_subjects_colour(make_scene, make_shape):
    for kind in SHAPES:
        for colour, rgb in COLOURS.items():
            scene = make_scene(make_shape(kind, colour=colour, material="rubber"), background="city")
            frame = render_frames([scene], fps=1, frames=1, height=64, width=64)[0, 0].float()
            mask = masks([scene], fps=1, frames=1, height=64, width=64)[0, 0, 0]
            inside = frame[mask].median(0).values
            assert (inside - torch.tensor(rgb, dtype=torch.float32)).abs().max() < 40, (kind, colour)
            nearest = min(COLOURS, key=lambda name: (inside - torch.tensor(COLOURS[name])).square().sum())
            assert nearest == colour


def test_masks_are_where_the_picture_changes(make_scene, make_shape):
    """Against the same scene without its subject; the shadow is the only difference outside the mask."""
    for kind in SHAPES:
        motion = Motion("bounce", 0.1, start=0.3, period=0.5, height=0.4, restitution=0.9)
        full, empty = make_scene(make_shape(kind, motion)), make_scene()
        a, b = (render_frames([scene], **SIZE)[0].int() for scene in (full, empty))
        mask = masks([full], **SIZE)[0, 0]
        changed = (a - b).abs().amax(-1) > 0
        assert (changed & mask).sum() > 0.97 * mask.sum()
        floor_row = int((full.floor + 0.5) * 64)
        above = torch.arange(64)[:, None] < floor_row - 3
        outside = changed & ~mask & above
        assert outside.sum() < 0.25 * mask.sum()  # the antialiased rim


def test_masks_follow_the_tracks(drawn):
    found = masks(drawn, **SIZE)
    times = np.arange(17) / 16
    grid = (torch.arange(64) + 0.5) / 64 - 0.5
    for row, scene in enumerate(drawn):
        path = tracks(scene, times)
        for slot, subject in enumerate(scene.subjects):
            if subject.kind not in ("ball", "ring") or subject.motion.kind == "collide":
                continue
            mask = found[row, slot].float()
            x = (mask * grid).sum((1, 2)) / mask.sum((1, 2))
            y = (mask * grid[:, None]).sum((1, 2)) / mask.sum((1, 2))
            assert x.numpy() == pytest.approx(path.x_NT[slot], abs=0.006)
            assert y.numpy() == pytest.approx(path.y_NT[slot], abs=0.006)
    assert not found[[len(scene.subjects) == 1 for scene in drawn], 1].any()


def test_a_box_is_an_upright_square(make_scene, make_shape):
    mask = masks([make_scene(make_shape("box"))], fps=1, frames=1, height=128, width=128)[0, 0, 0]
    rows, columns = mask.any(1).sum().item(), mask.any(0).sum().item()
    assert abs(rows - columns) <= 1  # the centre may lie between two pixels in one direction
    assert mask.sum() > 0.97 * rows * columns


def test_shapes_differ(make_scene, make_shape):
    scenes = [make_scene(make_shape(kind)) for kind in SHAPES]
    found = masks(scenes, fps=1, frames=1, height=64, width=64)[:, 0, 0].float().flatten(1)
    both = found @ found.T
    overlap = both / (found.sum(1)[:, None] + found.sum(1) - both)
    assert (overlap - torch.eye(len(SHAPES))).max() < 0.87


@pytest.mark.parametrize("kind", FACES)
def test_dark_of_the_mouth_follows_its_opening(kind, make_scene, make_face):
    face = make_face(kind, ((0.1, 0.3, "aa"), (0.45, 0.25, "oo"), (0.75, 0.28, "ee")))
    frames = render_frames([make_scene(face)], fps=48, frames=51, height=64, width=64)[0].float()
    centre_y = (make_scene(face).floor - 0.84 * face.radius + 0.5) * 64
    rows = slice(int(centre_y + 0.12 * face.radius * 64), int(centre_y + 0.8 * face.radius * 64))
    columns = slice(int(32 - 0.5 * face.radius * 64), int(32 + 0.5 * face.radius * 64))
    # The inside of the mouth has little green, a yellow face much.
    dark = (frames[:, rows, columns, 1] < 110).float().sum((1, 2)).numpy()
    opening, _ = mouth(face.speech, [i / 48 for i in range(51)])
    assert np.corrcoef(dark, opening)[0, 1] > 0.9
    assert dark.max() > 60  # pixels, at 64 x 64
    assert dark.min() < 30


def test_night_is_darker_and_keeps_the_subject(make_scene, make_shape):
    day, night = (make_scene(make_shape(material="rubber"), night=value) for value in (False, True))
    frames = render_frames([day, night], fps=1, frames=1, height=64, width=64).float()
    mask = masks([day], fps=1, frames=1, height=64, width=64)[0, 0, 0]
    assert frames[1, 0][~mask].mean() < 0.65 * frames[0, 0][~mask].mean()
    assert frames[1, 0][mask].mean() > 0.85 * frames[0, 0][mask].mean()


def test_backgrounds_are_paler_than_subjects(make_scene):
    scenes = [make_scene(background=name, night=night) for name in BACKGROUNDS for night in (False, True)]
    frames = render_frames(scenes, fps=1, frames=1, height=64, width=64)[:, 0].float()
    spread = frames.amax(-1) - frames.amin(-1)
    assert spread.flatten(1).quantile(0.98, dim=1).max() < 90
    vivid = [max(rgb) - min(rgb) for name, rgb in COLOURS.items() if name != "white"]
    assert min(vivid) > 120


def test_empty_batch_and_empty_scene(make_scene):
    assert render_frames([], **SIZE).shape == (0, 17, 64, 64, 3)
    assert masks([make_scene()], **SIZE).shape == (1, 0, 17, 64, 64)
    assert render([make_scene()], frames=2, height=64, width=64).frames.shape == (1, 2, 64, 64, 3)
