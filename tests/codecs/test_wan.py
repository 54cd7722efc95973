"""The V3 video codec at a tiny size. Its pixels against the official ones: tests/golden."""

import pytest
import torch
from diffusers import AutoencoderKLWan
from torch.testing import assert_close

from openreels.codecs.wan import WanVideoCodec

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def codec() -> WanVideoCodec:
    torch.manual_seed(0)
    return WanVideoCodec(AutoencoderKLWan(base_dim=4, num_res_blocks=1).eval().requires_grad_(False))


def film(frames: int = 5, height: int = 16, width: int = 24) -> torch.Tensor:
    return torch.rand(1, 3, frames, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_arithmetic(codec):
    assert codec.latent_shape(121, 720, 1280) == (1, 16, 31, 90, 160)
    assert [codec.latent_frames(n) for n in (1, 5, 81)] == [1, 2, 21]
    assert [codec.frames(n) for n in (1, 2, 21)] == [1, 5, 81]
    assert (codec.latent_channels, codec.frames_per_latent, codec.pixels_per_latent) == (16, 4, 8)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((8, 16, 24), "number of frames must be a multiple of 4 plus 1; got 8"),
        ((5, 17, 24), "height and width must be multiples of 8; got 17 x 24"),
    ],
)
def test_frames_are_never_dropped_silently(codec, shape, sentence):
    with pytest.raises(ValueError, match=sentence):
        codec.encode(film(*shape))


def test_there_and_back(codec):
    latents = codec.encode(film())
    assert latents.shape == codec.latent_shape(5, 16, 24) and latents.dtype == torch.float32
    frames = codec.decode(latents)
    assert frames.shape == (1, 3, 5, 16, 24) and frames.abs().max() <= 1
    assert_close(frames, codec.vae.decode(codec.vae.encode(film()).latent_dist.mode()).sample, atol=1e-5, rtol=0)


def test_latents_are_normalised(codec):
    z = codec.vae.encode(film()).latent_dist.mode()
    mean, std = (torch.tensor(getattr(codec.vae.config, f"latents_{name}")) for name in ("mean", "std"))
    expected = (z - mean.view(1, -1, 1, 1, 1)) / std.view(1, -1, 1, 1, 1)
    assert_close(codec.encode(film()), expected, atol=1e-6, rtol=1e-6)


def test_a_generator_draws_from_the_posterior(codec):
    mean = codec.encode(film())
    first, again, other = (codec.encode(film(), torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other) and not torch.equal(first, mean)


def test_tiling_is_a_switch(codec):
    assert not codec.tiling
    codec.tiling = True
    assert codec.tiling and codec.vae.use_tiling
    codec.tiling = False
    assert not codec.vae.use_tiling
