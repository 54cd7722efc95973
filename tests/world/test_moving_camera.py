"""A moving camera shows in each frame what a camera that stands there shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from openreels.world import Camera, film_frames, masks, render_frames, sample_film, tracks
from openreels.world.camera import CAMERA_MOVES, CameraMove
from openreels.world.dressing import dressed

SIZE = {"fps": 16, "height": 64, "width": 64}
AMOUNT = {"pan-left": 0.5, "pan-right": 0.5, "push-in": 2.0, "pull-out": 2.0}


@pytest.mark.parametrize("kind", CAMERA_MOVES)
def test_every_frame_is_a_still_cameras(kind, drawn):
    move, start = CameraMove(kind, AMOUNT[kind]), Camera(x=0.05, zoom=1.1, mirrored=True, turn=9)
    views = [move.at(start, share / 6) for share in range(7)]
    for scene in drawn[:6]:
        scene = dressed(scene, 1, 0.3)
        moving = render_frames([scene], **SIZE, frames=7, camera=views)[0]
        found = masks([scene], **SIZE, frames=7, camera=views)[0]
        for frame in (0, 3, 6):
            here = {**SIZE, "frames": 1, "start": frame / 16, "camera": views[frame]}
            difference = (moving[frame].int() - render_frames([scene], **here)[0, 0].int()).abs()
            assert (difference > 2).float().mean() < 1e-3
            assert (found[:, frame] ^ masks([scene], **here)[0, :, 0]).float().mean() < 1e-3


def test_pans_and_zooms_go_where_they_say(drawn, make_scene, make_shape):
    scene = make_scene(make_shape("ball"))
    seen = {}
    for kind in CAMERA_MOVES:
        views = [CameraMove(kind, AMOUNT[kind]).at(Camera(), share) for share in (0.0, 1.0)]
        seen[kind] = masks([scene], **SIZE, frames=2, camera=views)[0, 0].float()
    columns = torch.arange(64.0)
    shift = {kind: np.diff([(m.sum(0) * columns).sum() / m.sum() for m in both])[0] for kind, both in seen.items()}
    growth = {kind: float(both[1].sum() / both[0].sum()) for kind, both in seen.items()}
    assert shift["pan-right"] == pytest.approx(-shift["pan-left"], abs=2) and shift["pan-left"] > 20
    assert growth["push-in"] > 2.5 and growth["pull-out"] < 0.3


def test_a_shot_with_a_move(drawn):
    film = sample_film(1, cuts=())
    shot = film.shots[0]
    move = CameraMove("push-in", 1.6)
    moved = replace(film, shots=(replace(shot, move=move),))
    still, pushed = (film_frames(each, **SIZE) for each in (film, moved))
    assert torch.equal(still[0], pushed[0])
    assert (still[-1].float() - pushed[-1].float()).abs().mean() > 5
    assert torch.equal(film_frames(moved, **SIZE, first=5, last=9), pushed[5:9])
    end = (len(pushed) - 1) / 16
    last = render_frames(
        [shot.scene], **SIZE, frames=1, start=shot.start + end, camera=move.at(shot.camera, end / shot.duration)
    )
    assert (last[0, 0].int() - pushed[-1].int()).abs().max() <= 2
    assert tracks(shot.scene, [end]).x_NT.shape[1] == 1


def test_cameras_must_fit_the_frames(drawn):
    with pytest.raises(ValueError, match="camera must be one"):
        render_frames(drawn[:1], **SIZE, frames=3, camera=[Camera()] * 2)
    with pytest.raises(ValueError, match="mirroring"):
        masks(drawn[:1], **SIZE, frames=2, camera=[Camera(), Camera(turn=3)])
