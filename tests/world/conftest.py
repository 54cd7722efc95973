"""Scenes made by hand, and a batch drawn at random, for the tests of the world."""

import pytest
import torch

from openreels.world import Motion, Scene, Speech, Subject, Syllable, render, sample_scene

DURATION = 17 / 16


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tests share two cores with others; tiny tensors gain nothing from threads anyway."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_shape():
    def make(kind="ball", motion=None, *, colour="red", material="wood", radius=0.2):
        return Subject(kind, colour, "large", radius, motion or Motion("still", 0.0), material=material)

    return make


@pytest.fixture(scope="session")
def make_face():
    def make(kind="person", syllables=((0.2, 0.3, "aa"), (0.6, 0.3, "ee")), *, voice="low", colour="yellow"):
        spoken = tuple(Syllable(start, length, vowel, 1.0) for start, length, vowel in syllables)
        return Subject(kind, colour, "large", 0.34, Motion("still", 0.0), speech=Speech(voice, 1, spoken))

    return make


@pytest.fixture(scope="session")
def make_scene():
    def make(*subjects, duration=DURATION, aspect=1.0, background="meadow", night=False):
        floor = max(1.0, 1.0 / aspect) / 2 - 0.16
        return Scene(0, duration, aspect, background, night, floor, 7, tuple(subjects))

    return make


@pytest.fixture(scope="session")
def drawn():
    """96 random scenes."""
    return [sample_scene(seed, duration=DURATION) for seed in range(96)]


@pytest.fixture(scope="session")
def clips(drawn):
    """Their pictures and sound, 17 frames of 64 x 64 at 16 fps."""
    return render(drawn, frames=17, height=64, width=64)
