"""The decoder's last lessons: what it is shown, what it shall show. Legend: see training/decoder.py."""

import pytest
import torch
from torch.testing import assert_close

from openreels.recipes.pocket import tiny_plan
from openreels.training.decoder import FINISHED, DecoderTask
from openreels.training.latents import Bucket, LatentSet
from openreels.training.loop import step_generator
from openreels.training.plan import load_components
from openreels.training.video_codec import ClipPool
from openreels.world import render_frames

pytestmark = pytest.mark.usefixtures("one_thread")
STILLS, CLIPS = Bucket(1), Bucket(5)


@pytest.fixture
def task(parts, tmp_path) -> DecoderTask:
    codecs, encoder = load_components(parts)
    latents = {bucket: LatentSet(tmp_path, ["video"], bucket, 1, codecs, 0) for bucket in (STILLS, CLIPS)}
    torch.manual_seed(0)
    transformer = tiny_plan().transformer(4, 6, encoder.width)
    pool = ClipPool(8, frames=5, seed=1, refill=2, every=100)
    return DecoderTask(codecs.video, transformer, encoder, latents, {STILLS: 1.0, CLIPS: 1.0}, pool)


def drawn(task: DecoderTask, frames: int):
    draws = (task.draw(step, step_generator(0, task.name, step)) for step in range(20))
    return next(draw for draw in draws if draw.shape.frames == frames)


@pytest.mark.parametrize("bucket", [STILLS, CLIPS])
def test_the_worlds_pictures_are_those_of_the_latents(task, bucket):
    work = drawn(task, bucket.frames)
    data = task.latents[bucket]
    latents = task.codec.encode(work.frames_BTHWC)
    state = work.video.state
    clean = state.noisy_BNC + (1 - state.time_B)[:, None, None] * work.video.target_BNC
    assert_close(latents, clean, atol=0.05, rtol=0.02)  # kept in bfloat16
    assert (state.time_B <= FINISHED).all() and state.layout_BNK is not None
    assert work.subjects_BTHW.shape == work.frames_BTHWC.shape[:4] and work.subjects_BTHW.any()
    assert len(work.texts) == len(work.frames_BTHWC) <= len(data)
    again = task.draw(work.step, step_generator(0, task.name, work.step))
    assert torch.equal(work.frames_BTHWC, again.frames_BTHWC) and work.texts == again.texts


def test_only_the_decoder_learns_to_show_the_world_around_subjects(task):
    before = {name: weight.clone() for name, weight in task.codec.vae.named_parameters()}
    work = drawn(task, 5)
    wrong, losses = [], []
    for group in (group for optimizer in task.optimizers for group in optimizer.param_groups):
        group["lr"] = 0.02
    for _ in range(20):
        loss, numbers = task.loss(work)
        loss.backward()
        for optimizer in task.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        wrong.append(float(numbers["predicted"]))
        losses.append(loss.item())
    assert wrong[0] == pytest.approx(float(numbers["was"]))
    assert losses[-1] < 0.9 * losses[0] and wrong[-1] < 0.99 * wrong[0]
    for name, weight in task.codec.vae.named_parameters():
        assert torch.equal(weight, before[name]) == name.startswith("encoder"), name
    assert not any(p.grad is not None for p in task.transformer.parameters())


def test_away_from_subjects_it_shall_show_what_it_showed(task):
    """With nobody in the picture, the world's frames do not count."""
    work = drawn(task, 5)
    empty = work._replace(subjects_BTHW=torch.zeros_like(work.subjects_BTHW))
    other = empty._replace(frames_BTHWC=render_frames(
        [task.latents[CLIPS].scene(0)] * len(work.texts), fps=16, frames=5, height=64, width=64
    ))  # fmt: skip
    assert torch.equal(task.loss(empty)[0], task.loss(other)[0])
    assert not torch.equal(task.loss(work)[0], task.loss(work._replace(frames_BTHWC=other.frames_BTHWC))[0])
