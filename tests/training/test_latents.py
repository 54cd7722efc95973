"""Latents encoded once: the right clip under the right number, the same in every run."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch.testing import assert_close

from openreels.training.latents import Bucket, LatentSet, build_shard
from openreels.training.plan import load_components
from openreels.world import render_frames, render_sound

pytestmark = pytest.mark.usefixtures("one_thread")
BUCKET = Bucket(5)


@pytest.fixture(scope="module")
def codecs(parts):
    return load_components(parts)[0]


@pytest.fixture(scope="module")
def two_shards(codecs, tmp_path_factory) -> LatentSet:
    return LatentSet(tmp_path_factory.mktemp("latents"), ["video", "audio"], BUCKET, 2, codecs, seed=0)


def test_latents_are_those_of_the_scene_with_their_number(two_shards, codecs, worker):
    """Also across the border of two shards; bfloat16 is what is kept of them."""
    assert len(two_shards) == 2 * worker.SHARD
    for i in (0, worker.SHARD - 1, worker.SHARD, len(two_shards) - 1):
        scene = two_shards.scene(i)
        frames = render_frames([scene], fps=16, frames=5, height=64, width=64, safe_height=64, safe_width=64)
        sound = render_sound([scene], samples=two_shards.audio_shape.samples)
        assert_close(two_shards.latents["video"][i].float(), codecs.video.encode(frames)[0], atol=0.05, rtol=0.05)
        assert_close(two_shards.latents["audio"][i].float(), codecs.audio.encode(sound)[0], atol=0.05, rtol=0.05)
    assert len({two_shards.scene(i) for i in range(len(two_shards))}) == len(two_shards)


def test_a_shard_is_built_once_and_again_the_same(codecs, tmp_path, two_shards, worker):
    path = build_shard(tmp_path, "video", BUCKET, 1, codecs, seed=0)
    first, built = path.read_bytes(), path.stat().st_mtime_ns
    assert build_shard(tmp_path, "video", BUCKET, 1, codecs, seed=0).stat().st_mtime_ns == built
    path.unlink()
    assert build_shard(tmp_path, "video", BUCKET, 1, codecs, seed=0).read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_other_weights_seeds_and_streams_make_other_files(parts, tmp_path):
    codecs, _ = load_components(parts)
    first = build_shard(tmp_path, "video", BUCKET, 0, codecs, seed=0)
    assert build_shard(tmp_path, "video", BUCKET, 0, codecs, seed=1) != first
    assert build_shard(tmp_path, "audio", BUCKET, 0, codecs, seed=0) != first
    next(codecs.video.vae.parameters()).data += 0.1
    codecs = replace(codecs)  # weights do not change under one and the same object
    assert build_shard(tmp_path, "video", BUCKET, 0, codecs, seed=0) != first


def test_shapes_follow_the_codecs(two_shards):
    video, audio = two_shards.video_shape, two_shards.audio_shape
    assert (video.latent_frames, video.latent_height, video.latent_width, video.fps) == (2, 4, 4, Fraction(16))
    assert two_shards.latents["video"].shape[1:] == (video.tokens, 4)
    assert two_shards.latents["audio"].shape[1:] == (audio.tokens, 6)
    assert two_shards.latents["video"].dtype == torch.bfloat16
