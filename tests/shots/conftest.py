"""Films of the world as arrays, for the tests of what finds their shots."""

import numpy as np
import pytest
import torch

from openreels.world import cut_frames, film_frames, sample_film

pytest.importorskip("scenedetect", reason="the extra `shots` is not installed")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shown():
    """A held-out film with its frames and the indices of its first frames after a cut."""

    def show(seed, *cuts, height=64, width=64, fps=16):
        film = sample_film(seed, cuts=cuts, aspect=width / height, split="held_out")
        frames = film_frames(film, fps=fps, height=height, width=width).numpy()
        return film, frames, cut_frames(film, fps)

    return show


@pytest.fixture(scope="session")
def still():
    """Frames of one grey picture with a rectangle of another colour: (left, top, right, bottom) in shares."""

    def make(*boxes, count=24, height=64, width=96, colour=(220, 40, 40)):
        picture = np.full((height, width, 3), 150, np.uint8)
        for left, top, right, bottom in boxes:
            picture[int(top * height) : int(bottom * height), int(left * width) : int(right * width)] = colour
        return np.repeat(picture[None], count, axis=0)

    return make
