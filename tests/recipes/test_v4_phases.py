"""The schedule is the paper's: every number it gives, and nothing it does not give among them."""

import pytest

from openreels.recipes.v4_phases import PHASES, plan
from openreels.training.sharded.phases import Chosen, Phase, Published

MILLION = 1e6


def published(name: str) -> Published:
    return next(phase for phase in PHASES if phase.name == name).published


def test_the_phases_are_those_of_the_paper_in_its_order():
    """Nine phases, the last of which, SFT, has two steps."""
    assert [phase.name for phase in PHASES] == [
        *(f"video-{number}" for number in range(1, 7)), "audio", "joint", "sft-1", "sft-2"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "resolutions", "seconds", "images", "videos", "epochs"),
    [
        ("video-1", (256,), None, 3000, 0, 3),
        ("video-2", (256,), (2, 10), 1000, 400, 3),
        ("video-3", (256,), (2, 15), 1000, 400, 2),
        ("video-4", (256, 480), (2, 15), 100, 100, 2),
        ("video-5", (480, 720, 1080), (3, 15), 50, 50, 2),
        ("video-6", (480, 720, 1080), None, 20, 50, 2),
        ("audio", (), (0, 15), 0, 0, 3),
        ("joint", (720, 1080), (5, 15), 0, 25, 2),
        ("sft-1", (720, 1080), (5, 15), 0, 5, 3),
        ("sft-2", (720, 1080), (5, 15), 0, 1, 3),
    ],
)
def test_sizes_and_amounts_are_the_papers(name, resolutions, seconds, images, videos, epochs):
    said = published(name)
    assert (said.resolutions, said.seconds, said.epochs) == (resolutions, seconds, epochs)
    assert (said.images, said.videos) == (images * MILLION, videos * MILLION)


def test_task_shares_are_the_papers():
    inpainting = {"image-inpainting", "image-to-video", "video-extension", "video-editing"}
    for phase in PHASES:
        assert sum(phase.shares.values()) == pytest.approx(1)
        if phase.name in ("video-3", "video-4", "video-5"):
            assert {phase.shares[task] for task in inpainting} == {0.05}
    references = {"image-reference": 0.2, "video-reference": 0.2, "text-to-video": 0.6}
    assert published("video-6").tasks == references
    for name in ("sft-1", "sft-2"):
        assert published(name).tasks["text-to-video-audio"] == 0.8


def test_steps_follow_from_epochs_samples_and_batch():
    first = PHASES[0]
    assert first.steps == pytest.approx(3 * 3e9 / first.chosen.batch, abs=1)
    assert PHASES[6].samples == 3 * 300_000 * 240  # clips of 15 s


def test_what_a_phase_starts_from_comes_before_it():
    names = [phase.name for phase in PHASES]
    for place, phase in enumerate(PHASES):
        assert all(names.index(source) < place for source in phase.chosen.starts_from.values())
    assert dict(PHASES[7].chosen.starts_from) == {"video": "video-6", "audio": "audio"}


def test_refusals_name_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="preset mid needs a folder of cached latents"):
        plan("mid")
    with pytest.raises(ValueError, match=r"must be a folder of cached latents with an index.json, not '.*'"):
        plan("mid", tmp_path)
    with pytest.raises(ValueError, match="unknown tasks: dance"):
        Phase("x", Published({"dance": 1.0}, 1), Chosen(("video",), 1, 1e-4))
    with pytest.raises(ValueError, match="needs chosen shares of exactly text-to-image"):
        Phase("x", Published({"text-to-image": None}, 1), Chosen(("video",), 1, 1e-4))
