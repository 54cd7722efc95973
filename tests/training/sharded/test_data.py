"""Sources of samples: functions of the step, tasks with their shares, and cached latents as they were written."""

from collections import Counter

import pytest
import torch
from sharded_jobs import random_sample

from openreels.recipes.v4_phases import PHASES
from openreels.training.latents import Bucket
from openreels.training.sharded.cached import CachedData, LatentWriter
from openreels.training.sharded.conditions import TASKS, video_task, with_references
from openreels.training.sharded.mixture import draw_task
from openreels.training.sharded.phases import Chosen, Phase, Published
from openreels.training.sharded.samples import Streamed, UniformTimes, collate
from openreels.training.sharded.world_data import WorldData
from openreels.types import VideoShape

pytestmark = pytest.mark.usefixtures("one_thread")

PARTS = ("video", "audio", "cross")
SHAPE = VideoShape(17, 64, 64, 16, 5, 4, 4, 3)


def every_task(**chosen) -> Phase:
    shares = dict.fromkeys(TASKS, 1)
    return Phase("all", Published(dict.fromkeys(TASKS), 1), Chosen(PARTS, 8, 1e-4, shares=shares, **chosen))


@pytest.fixture(scope="module")
def cached(tmp_path_factory) -> CachedData:
    """Stills, clips with sound and two references, and sound alone, over several shards."""
    folder = tmp_path_factory.mktemp("cached")
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw)

    writer = LatentWriter(folder, torch.zeros(1, 12), clips_per_shard=4)
    for _ in range(3):
        writer.add(normal(4, 12), normal(6, 4), (1, 2, 3))
        writer.add(
            normal(5, 12),
            normal(12, 4),
            (2, 3, 2),
            normal(5, 6),
            references_NC=[normal(4, 4), normal(12, 4)],
            reference_grids=[(1, 2, 2), (2, 3, 2)],
        )
        writer.add(normal(3, 12), audio_AC=normal(7, 6), latent_frames=3)
    writer.close()
    return CachedData(folder)


def test_masks_say_what_each_task_is_given():
    grid = (5, 4, 4)
    masks = {name: task.given(grid, torch.Generator().manual_seed(1)) for name, task in TASKS.items()}
    assert not masks["text-to-video"].any()
    assert masks["image-to-video"].sum() == 16 and masks["image-to-video"][0].all()
    extension = masks["video-extension"].amax((1, 2))
    assert 1 <= extension.sum() <= 4 and extension.tolist() == sorted(extension.tolist(), reverse=True)
    for name in ("image-inpainting", "video-editing"):
        for mask_YX in masks[name]:
            rows, columns = (mask_YX == 0).any(1).sum(), (mask_YX == 0).any(0).sum()
            assert (mask_YX == 0).sum() == rows * columns  # one box in every frame
            assert 1 <= rows <= 3 and 1 <= columns <= 3


def test_given_latents_stand_where_the_mask_says_and_nowhere_else():
    data_NC = torch.randn(SHAPE.tokens, 3)
    blank = video_task(TASKS["video-editing"], data_NC, SHAPE, torch.Generator().manual_seed(0))
    mask_N = blank.mask_BN1[0, :, 0].bool()
    assert torch.equal(blank.given_BNC[0, mask_N], data_NC[mask_N])
    assert not blank.given_BNC[0, ~mask_N].any()


def test_references_end_right_before_the_clip():
    """Condition i of n at time i - n (paper, in-context references), spatial positions kept."""
    blank = video_task(TASKS["text-to-video"], torch.zeros(SHAPE.tokens, 3), SHAPE, torch.Generator())
    state = with_references(blank, [torch.ones(4, 3), torch.zeros(8, 3)], [(1, 2, 2), (2, 2, 2)])
    assert state.reference_positions_RP[::4, 0].tolist() == [-3.0, -2.0, -1.0]
    assert state.reference_positions_RP[4:8, 1:].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert state.reference_BRC.shape == (1, 12, 3)


def test_tasks_come_with_their_shares_and_steps_have_one_set_of_towers():
    shares = {"text-to-video": 0.25, "text-to-video-audio": 0.4, "image-to-video-audio": 0.1, "text-to-audio": 0.25}
    drawn = [[draw_task(shares, 0, "joint", step, number) for number in range(2)] for step in range(1500)]
    counts = Counter(task for tasks in drawn for task in tasks)
    for task, share in shares.items():
        assert counts[task] / 3000 == pytest.approx(share, abs=0.04)
    assert all(len({TASKS[task].streams for task in tasks}) == 1 for tasks in drawn)
    assert any(len(set(tasks)) == 2 for tasks in drawn)


def test_no_micro_batch_draws_as_one_of_another_step_does(cached):
    """Of the largest batches of the schedule too, one clip at a time: 8192."""
    shares = dict.fromkeys(("text-to-video", "image-to-video", "video-extension", "video-editing"), 0.25)
    ahead = [draw_task(shares, 0, "video-3", 0, 4096 + number) for number in range(64)]
    assert ahead != [draw_task(shares, 0, "video-3", 1, number) for number in range(64)]
    source = cached.source(every_task(), cached.folder, 1, 0)
    (one,), (other,) = source.micro_batch(2**32 - 1, 8191), source.micro_batch(2**32 - 1, 8191)
    assert torch.equal(one.context.hidden_BLD, other.context.hidden_BLD)


def test_cached_clips_are_what_was_written_and_a_function_of_the_step(cached):
    source = cached.source(every_task(text_dropout=0.0), cached.folder, 2, 0)
    seen = set()
    for step in range(60):
        samples = source.micro_batch(step, 0)
        again = cached.source(every_task(text_dropout=0.0), cached.folder, 2, 0).micro_batch(step, 0)
        for one, other in zip(samples, again, strict=True):
            assert torch.equal(one.context.hidden_BLD, other.context.hidden_BLD)
            seen.add((one.streams, None if one.video is None else one.video.blank.references))
        collate(samples, UniformTimes(), 0.0, [torch.Generator(), torch.Generator()])
    assert seen == {
        (("video",), 0), (("video",), 16), (("audio",), None), (("video", "audio"), 0), (("video", "audio"), 16)
    }  # fmt: skip


def test_sound_alone_has_the_timeline_of_its_length(cached):
    phase = Phase("audio", Published({"text-to-audio": 1.0}, 1), Chosen(("audio",), 2, 1e-4))
    samples = [cached.source(phase, cached.folder, 1, seed).micro_batch(0, 0)[0] for seed in range(12)]
    positions = {sample.audio.blank.tokens: sample.audio.blank.positions_NP[1, 0] for sample in samples}
    assert positions[7] == pytest.approx(3 / 7) and positions[5] == pytest.approx(2 / 5)


def test_a_dropped_prompt_is_the_empty_one(cached):
    samples = cached.source(every_task(text_dropout=1.0), cached.folder, 2, 0).micro_batch(0, 0)
    assert all(not sample.context.hidden_BLD.any() and sample.context.mask_BL.shape == (1, 1) for sample in samples)


def test_any_iterable_is_a_source_that_finds_its_place_again():
    samples = [random_sample(seed) for seed in range(5)]
    source = Streamed(samples, batch=4, micro_batch=2)
    place = {id(sample): number for number, sample in enumerate(samples)}
    asked = ((0, 0), (0, 1), (1, 1), (1, 0), (3, 1))
    order = [[place[id(sample)] for sample in source.micro_batch(*which)] for which in asked]
    assert order == [[0, 1], [2, 3], [1, 2], [4, 0], [4, 0]]
    with pytest.raises(ValueError, match="no samples to train on"):
        Streamed([], batch=1, micro_batch=1).micro_batch(0, 0)


def test_what_does_not_fit_is_refused(cached, tmp_path):
    with pytest.raises(ValueError, match="the grid has 6 tokens and the latents 5"):
        LatentWriter(tmp_path, torch.zeros(1, 12)).add(torch.zeros(1, 12), torch.zeros(5, 4), (1, 2, 3))
    with pytest.raises(ValueError, match="sound alone needs latent_frames"):
        LatentWriter(tmp_path, torch.zeros(1, 12)).add(torch.zeros(1, 12), audio_AC=torch.zeros(5, 4))
    with pytest.raises(ValueError, match="11 channels, where clips before had 12"):
        LatentWriter(tmp_path, torch.zeros(1, 12)).add(torch.zeros(1, 11), torch.zeros(6, 4), (1, 2, 3))
    writer = LatentWriter(tmp_path, torch.zeros(1, 12))
    writer.add(torch.zeros(1, 12), torch.zeros(6, 4), (1, 2, 3))
    writer.close()
    audio = next(phase for phase in PHASES if phase.name == "audio")
    with pytest.raises(ValueError, match="no clips for text-to-audio of phase audio"):
        CachedData(tmp_path).source(audio, tmp_path, 1, 0)
    with pytest.raises(ValueError, match="same tokens and references"):
        samples = [random_sample(0, references=count) for count in (0, 3)]
        collate(samples, UniformTimes(), 0.0, [torch.Generator(), torch.Generator()])


def test_tasks_without_clips_are_left_out(tmp_path):
    writer = LatentWriter(tmp_path, torch.zeros(1, 12))
    writer.add(torch.zeros(1, 12), torch.zeros(6, 4), (1, 2, 3))
    writer.close()
    data, phase = CachedData(tmp_path), every_task()
    assert [task for task in TASKS if task not in data.lacks(phase)] == ["text-to-image", "image-inpainting"]
    samples = [data.source(phase, tmp_path, 1, 0).micro_batch(step, 0)[0] for step in range(20)]
    assert {bool(sample.video.blank.mask_BN1.any()) for sample in samples} == {False, True}


def test_a_folder_is_written_on(tmp_path):
    for made_by, source in (("one", "a"), ("one", "b")):
        writer = LatentWriter(tmp_path, torch.zeros(1, 12), made_by=made_by)
        writer.add(torch.full((1, 12), float(ord(source))), torch.zeros(6, 4), (1, 2, 3), source=source)
        writer.close()
    assert [entry.source for entry in CachedData(tmp_path).entries] == ["a", "b"]

    writer = LatentWriter(tmp_path, torch.zeros(1, 12), made_by="one")
    writer.keep({"b"})
    writer.close()
    (sample,) = CachedData(tmp_path).source(every_task(text_dropout=0.0), tmp_path, 1, 0).micro_batch(0, 0)
    assert (sample.context.hidden_BLD == ord("b")).all()
    with pytest.raises(ValueError, match="holds latents of one, not of two"):
        LatentWriter(tmp_path, torch.zeros(1, 12), made_by="two")

    before = {path.name: path.read_bytes() for path in tmp_path.glob("0*.safetensors")}
    for sources in ({}, {"c"}):  # all clips forgotten; then their files' names are not taken again
        writer = LatentWriter(tmp_path, torch.zeros(1, 12), made_by="one")
        writer.keep(sources)
        if sources:
            writer.add(torch.zeros(1, 12), torch.zeros(6, 4), (1, 2, 3), source="c")
        writer.close()
    after = {path.name: path.read_bytes() for path in tmp_path.glob("0*.safetensors")}
    assert after.items() > before.items() and [entry.source for entry in CachedData(tmp_path).entries] == ["c"]


def test_the_world_has_samples_for_every_task(parts, tmp_path):
    data = WorldData(parts, Bucket(1), (Bucket(5),), shards=1)
    phase = every_task()
    source = data.source(phase, tmp_path, 2, 0)
    seen = set()
    for step in range(40):
        samples = source.micro_batch(step, 0)
        seen |= {(sample.streams, sample.video.blank.references if sample.video else None) for sample in samples}
        for one, other in zip(samples, source.micro_batch(step, 0), strict=True):
            assert torch.equal(one.context.hidden_BLD, other.context.hidden_BLD)
    assert {streams for streams, _ in seen} == {("video",), ("audio",), ("video", "audio")}
    assert {references for _, references in seen} >= {0, 16}
