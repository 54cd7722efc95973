"""The codecs of the full-size model: diffusers' own classes, tiny and random, behind our adapters. Legend: codecs/."""

from fractions import Fraction

import pytest
import torch
from torch.testing import assert_close

from openreels.codecs.audio import MMAudioCodec
from openreels.codecs.video import PocketVideoVAE, VideoCodec
from openreels.media.timing import samples_for
from openreels.tasks.states import audio_positions, video_positions

pytestmark = pytest.mark.usefixtures("one_thread")
FPS = Fraction(16)
SIDES = {"AutoencoderKLHunyuanVideo15": 16, "AutoencoderKLHunyuanVideo": 8, "AutoencoderKLWan": 8}


@pytest.fixture(scope="module", params=SIDES)
def codec(request, full) -> VideoCodec:
    return VideoCodec(full.video_autoencoder(request.param))


@pytest.fixture(scope="module")
def sound(full):
    return full.sound_autoencoder()


def clip(frames: int = 5, height: int = 32, width: int = 48) -> torch.Tensor:
    return torch.randint(256, (1, frames, height, width, 3), generator=torch.Generator().manual_seed(0)).byte()


def noise(*shape: int) -> torch.Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


# --- pictures --------------------------------------------------------------------------------------------------------


def test_the_shape_is_that_of_the_latents(codec):
    side = SIDES[type(codec.vae).__name__]
    shape = codec.shape(81, 480, 832, FPS)
    assert (shape.latent_frames, shape.latent_height, shape.latent_width) == (21, 480 // side, 832 // side)
    shape = codec.shape(5, 32, 48, FPS)
    latents = codec.encode(clip())
    assert latents.shape == (1, shape.tokens, shape.latent_channels) and latents.dtype == torch.float32
    back = codec.decode(latents, shape)
    assert back.shape == (1, 5, 32, 48, 3) and back.dtype == torch.uint8


def test_normalisation_is_the_one_of_the_library(codec):
    """Token by token: (latent - mean) / std, or latent x scaling factor."""
    z = codec.vae.encode(clip().permute(0, 4, 1, 2, 3) / 127.5 - 1).latent_dist.mode()
    config = codec.vae.config
    if "scaling_factor" in config:
        expected = z * config.scaling_factor
    else:
        mean, std = (torch.tensor(x)[:, None, None, None] for x in (config.latents_mean, config.latents_std))
        expected = (z - mean) / std
    tokens = codec.encode(clip())
    for token, (frame, row, column) in enumerate(video_positions(codec.shape(5, 32, 48, FPS)).int().tolist()):
        assert_close(tokens[:, token], expected[:, :, frame, row, column], atol=1e-6, rtol=1e-5)


def test_through_the_adapter_and_back_is_the_bare_autoencoder(codec):
    bare = codec.vae(clip().permute(0, 4, 1, 2, 3) / 127.5 - 1).sample
    expected = ((bare + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 4, 1)
    back = codec.decode(codec.encode(clip()), codec.shape(5, 32, 48, FPS))
    assert (back - expected).abs().max() <= 1 and back.float().std() > 1


def test_samples_of_a_batch_do_not_mix(codec):
    frames = torch.cat([clip(), 255 - clip()])
    latents, shape = codec.encode(frames), codec.shape(5, 32, 48, FPS)
    assert_close(latents[1:], codec.encode(frames[1:]))
    assert torch.equal(codec.decode(latents, shape)[:1], codec.decode(latents[:1], shape))


def test_a_generator_draws_from_the_posterior(codec):
    mean = codec.encode(clip(1))
    first, again, other = (codec.encode(clip(1), torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other) and not torch.equal(first, mean)


def test_sizes_it_cannot_take_are_refused(codec):
    side = codec.spatial_factor
    for size in ((4, 32, 48), (0, 32, 48), (5, 32 + side // 2, 48), (5, 32, 0)):
        with pytest.raises(ValueError, match=rf"need 4k\+1 frames, height and width multiples of {side}"):
            codec.shape(*size, FPS)
    with pytest.raises(ValueError, match="6 x 32 x 48"):  # the library would drop frames silently
        codec.encode(clip(6))


def test_tiling_is_a_switch(codec):
    assert not codec.tiling
    codec.tiling = True
    assert codec.tiling and codec.vae.use_tiling
    codec.tiling = False
    assert not codec.vae.use_tiling


def test_what_has_no_tiles_says_so():
    with pytest.raises(ValueError, match="PocketVideoVAE works in one piece"):
        VideoCodec(PocketVideoVAE()).tiling = True


def test_a_model_that_patches_sees_fewer_wider_tokens(full):
    vae = full.video_autoencoder("AutoencoderKLHunyuanVideo")
    plain, patched = VideoCodec(vae), VideoCodec(vae, patch=2)
    shape = patched.shape(5, 32, 48, FPS)
    assert (shape.latent_height, shape.latent_width, shape.latent_channels) == (2, 3, 16)
    tokens = patched.encode(clip())
    assert tokens.shape == (1, 2 * 2 * 3, 16)
    assert torch.equal(patched.decode(tokens, shape), plain.decode(plain.encode(clip()), plain.shape(5, 32, 48, FPS)))
    with pytest.raises(ValueError, match="multiples of 16"):
        patched.shape(5, 40, 48, FPS)


@torch.no_grad()
def test_tiles_leave_no_seams(full):
    """A smooth picture of 18 x 24 latents in tiles of 16: the tiled one is the whole one, nearly; where tiles meet too.

    Attention in the middle of the decoder sees its tile alone, by the design of tiles; of random weights nothing smooth
    would be left then, so it is silenced here: what remains is how tiles are cut and blended.
    """
    codec = VideoCodec(full.video_autoencoder("AutoencoderKLHunyuanVideo15"))
    silent = codec.vae.decoder.mid_block.attentions[0].proj_out
    silent.weight.zero_(), silent.bias.zero_()
    y_YX, x_YX = torch.meshgrid(torch.linspace(-1, 1, 18), torch.linspace(-1, 1, 24), indexing="ij")
    z_BCFYX = torch.stack([y_YX, x_YX, x_YX * y_YX, y_YX**2])[None, :, None]
    whole = codec.vae.decode(z_BCFYX).sample
    codec.tiling = True
    error = (codec.vae.decode(z_BCFYX).sample - whole).abs()
    columns, rows = error.mean((0, 1, 2, 3)), error.mean((0, 1, 2, 4))
    assert 0 < error.mean() < 0.05 * whole.std()  # measured: 0.031
    assert max(columns.max(), rows.max()) < 0.15 * whole.std()  # 0.116, in the middle of the overlap


@pytest.mark.parametrize(
    ("kind", "side", "channels", "options"),
    [
        ("AutoencoderKLHunyuanVideo15", 16, 32, {}),
        ("AutoencoderKLHunyuanVideo", 8, 16, {}),
        ("AutoencoderKLWan", 8, 16, {}),
        ("AutoencoderKLWan", 16, 48, {"z_dim": 48, "scale_factor_spatial": 16, "patch_size": 2, "is_residual": True}),
    ],
)
def test_geometry_of_the_released_autoencoders(kind, side, channels, options):
    import diffusers

    with torch.device("meta"):
        shape = VideoCodec(getattr(diffusers, kind)(**options)).shape(81, 480, 832, FPS)
    assert (shape.latent_frames, shape.latent_height, shape.latent_width) == (21, 480 // side, 832 // side)
    assert shape.latent_channels == channels


# --- sound -----------------------------------------------------------------------------------------------------------


def test_the_papers_five_seconds_are_218_tokens(sound):
    """81 frames at 16 fps: 5.0625 s, 21 latent frames; audio positions are i x 21 / 218 = i x 0.09633."""
    codec = MMAudioCodec(*sound)
    samples = samples_for(81, FPS, codec.sample_rate)
    shape = codec.shape(samples)
    assert (codec.sample_rate, codec.samples_per_token, samples) == (44_100, 1_024, 223_256)
    assert shape.tokens == 218
    assert audio_positions(218, 21)[1].item() == pytest.approx(0.09633, abs=1e-5)


def test_those_tokens_are_what_the_autoencoder_gives_and_the_wave_is_as_long_as_the_clip(sound):
    codec = MMAudioCodec(*sound)
    wave = noise(1, 223_256)
    latents = codec.encode(wave)
    assert latents.shape == (1, 218, 6)
    assert codec.decode(latents).shape == (1, 218 * 1_024)
    made = codec.decode(latents, samples=223_256)
    assert made.shape == (1, 223_256) and not made[:, 218 * 1_024 :].any()  # 24 samples of silence, half a millisecond
    assert torch.equal(made[:, : 218 * 1_024], codec.decode(latents)) and made.abs().max() <= 1
    assert codec.decode(latents, samples=223_000).shape == (1, 223_000)


def test_latents_are_scaled_as_in_the_library(sound):
    vae, vocoder = sound
    codec = MMAudioCodec(vae, vocoder)
    wave = noise(1, 4_096)
    with torch.no_grad():
        z = vae.encode(wave).latent_dist.mode()
        expected = vocoder(vae.decode(z).sample).sample[:, 0]
    latents = codec.encode(wave)
    assert_close(latents, z.transpose(1, 2) * vae.config.scaling_factor)
    assert_close(codec.decode(latents), expected, atol=1e-5, rtol=1e-4)


def test_half_precision_keeps_an_exact_spectrum(full):
    codec = MMAudioCodec(*full.sound_autoencoder())
    wave = noise(1, 4_096)
    exact = codec.encode(wave)
    rough = codec.to(torch.bfloat16).encode(wave)
    assert codec.vae.dtype == torch.bfloat16 and rough.dtype == torch.float32
    assert_close(rough, exact, atol=0.05, rtol=0.1)
    assert codec.decode(rough).dtype == torch.float32


@pytest.mark.parametrize(("samples", "tokens"), [(1, 1), (1_024, 1), (1_535, 1), (1_536, 2), (44_100, 43)])
def test_tokens_are_the_nearest_whole_number(sound, samples, tokens):
    codec = MMAudioCodec(*sound)
    assert codec.tokens_for(samples) == codec.shape(samples).tokens == tokens
    assert codec.encode(noise(1, samples)).shape == (1, tokens, 6)


def test_stereo_is_two_passes(sound):
    mono, stereo = MMAudioCodec(*sound), MMAudioCodec(*sound, channels=2)
    wave = noise(2, 2, 4_096)
    latents = stereo.encode(wave)
    assert latents.shape == (2, 4, 12) and stereo.latent_channels == 12 and stereo.shape(4_096).latent_channels == 12
    assert_close(latents, torch.cat([mono.encode(wave[:, 0]), mono.encode(wave[:, 1])], dim=2))
    made = stereo.decode(latents, samples=4_000)
    assert made.shape == (2, 2, 4_000)
    assert_close(made[:, 1], mono.decode(latents[:, :, 6:], samples=4_000), atol=1e-5, rtol=1e-4)


def test_mono_stands_for_both_channels(sound):
    stereo = MMAudioCodec(*sound, channels=2)
    wave = noise(1, 4_096)
    assert_close(stereo.encode(wave), stereo.encode(torch.stack([wave, wave], dim=1)))


@pytest.mark.parametrize(("channels", "shape"), [(1, (1, 2, 4_096)), (2, (1, 3, 4_096)), (2, (1, 2, 0)), (2, (4_096,))])
def test_wrong_channels_are_refused(sound, channels, shape):
    with pytest.raises(ValueError, match=r"audio must be \(batch, (2, )?samples\)"):
        MMAudioCodec(*sound, channels=channels).encode(torch.zeros(shape))
    with pytest.raises(ValueError, match="channels of a sound must be 1"):
        MMAudioCodec(*sound, channels=0)
