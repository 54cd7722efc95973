"""The audio codec: shapes, timing, locality, determinism, saving, and training that survives interruption.

Shape legend: see codecs/mel.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_mmaudio import MMAudioVAE
from diffusers.models.autoencoders.mmaudio_vocoder import MMAudioVocoder
from torch import Tensor

from openreels.codecs.audio import MMAudioCodec, PocketAudioCodec, PocketAudioVAE
from openreels.codecs.mel import MelSpec, band_edges, log_mel, magnitude, mel_filters
from openreels.codecs.vocoder import PocketVocoder, VocoderParts, soft_limit, white_noise
from openreels.evaluation.melodies import manner_of_voice
from openreels.training.audio_codec import (
    AudioCodecRecipe,
    SoundPool,
    build_pool,
    render_world,
    tone_frequencies,
    train_audio_codec,
    train_vae,
    train_vocoder,
)
from openreels.training.loop import LoopConfig

# Two threads that share busy cores wait for each other: slower than one at these sizes.
pytestmark = pytest.mark.usefixtures("one_thread")
TINY_VAE = {"width": 24, "hidden": 32, "latent_channels": 6, "encoder_layers": 1, "decoder_layers": 1}
TINY_VOCODER = {"width": 32, "layers": 2, "hidden": 48}


@pytest.fixture(scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_codec() -> PocketAudioCodec:
    torch.manual_seed(0)
    vae = PocketAudioVAE(**TINY_VAE, latents_mean=[0.1] * 6, latents_std=[0.7] * 6)
    return PocketAudioCodec(vae, PocketVocoder(**TINY_VOCODER))


def noise(batch: int, samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))


def tone(hz: float, samples: int = 8_000) -> Tensor:
    return 0.3 * torch.sin(2 * torch.pi * hz * torch.arange(samples) / 16_000)[None]


# --- the picture -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hz", [120.0, 440.0, 1_000.0, 3_300.0, 7_000.0])
def test_tone_lands_in_its_band(hz):
    spec = MelSpec()
    picture_MT = log_mel(tone(hz), spec)[0]
    loudest = picture_MT[:, 16].argmax()
    edges = band_edges(spec)
    assert edges[loudest] < hz < edges[loudest + 2]


def test_filters_average_their_bins_and_cover_the_spectrum():
    filters_KM = mel_filters(MelSpec(), torch.device("cpu"))
    assert torch.allclose(filters_KM.sum(0), torch.ones(64))
    assert (filters_KM[1:-1].sum(1) > 0).all()


def test_silence_is_the_least_value_and_levels_are_absolute():
    spec = MelSpec()
    assert torch.allclose(log_mel(torch.zeros(1, 2_000), spec), torch.tensor(spec.silence), atol=1e-3)
    assert magnitude(tone(1_024), 1_000, 250).amax() == pytest.approx(0.3, rel=1e-3)


def test_frames_are_centred_on_their_own_samples():
    """A click in the middle of frame 9 is loudest in frame 9."""
    click = torch.zeros(1, 4_000)
    click[0, 9 * 250 + 125] = 1
    assert log_mel(click, MelSpec())[0].mean(0).argmax() == 9


# --- codec -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [1, 2, 17, 33])
def test_round_trip_shapes(tokens):
    codec = make_codec()
    audio_BS = noise(2, tokens * 1_000)
    latents_BNC = codec.encode(audio_BS)
    assert latents_BNC.shape == (2, tokens, 6) and latents_BNC.dtype == torch.float32
    out_BS = codec.decode(latents_BNC)
    assert out_BS.shape == audio_BS.shape and out_BS.dtype == torch.float32
    assert out_BS.abs().max() < 1


def test_arithmetic():
    codec = make_codec()
    assert (codec.samples_per_token, codec.sample_rate, codec.latent_channels) == (1_000, 16_000, 6)
    assert [codec.tokens_for(samples) for samples in (1, 1_000, 1_001, 32_000)] == [1, 1, 2, 32]
    shape = codec.shape(1_500)
    assert (shape.samples, shape.tokens) == (1_500, 2)
    assert codec.encode(noise(1, 1_500)).shape == (1, 2, 6)


def test_a_part_token_is_completed_with_silence():
    codec, audio_BS = make_codec(), noise(1, 1_500)
    full_BS = torch.nn.functional.pad(audio_BS, (0, 500))
    assert torch.equal(codec.encode(audio_BS), codec.encode(full_BS))


@pytest.mark.parametrize("shape", [(4_000,), (1, 0), (1, 2, 4_000)])
def test_wrong_audio_is_refused(shape):
    with pytest.raises(ValueError, match=r"audio must be \(batch, samples\)"):
        make_codec().encode(torch.zeros(shape))


def test_without_statistics_the_codec_says_so():
    codec = PocketAudioCodec(PocketAudioVAE(**TINY_VAE), PocketVocoder(**TINY_VOCODER))
    with pytest.raises(ValueError, match="no latent statistics"):
        codec.encode(noise(1, 1_000))


def test_deterministic_and_independent_of_the_batch():
    codec, audio_BS = make_codec(), noise(3, 8_000)
    latents_BNC = codec.encode(audio_BS)
    assert torch.equal(latents_BNC, codec.encode(audio_BS))
    assert torch.equal(codec.decode(latents_BNC), codec.decode(latents_BNC))
    assert torch.allclose(codec.encode(audio_BS[1:2]), latents_BNC[1:2], atol=1e-5)
    assert torch.allclose(codec.decode(latents_BNC[1:2]), codec.decode(latents_BNC)[1:2], atol=1e-4)


def test_sound_of_one_token_stays_near_it():
    codec = make_codec()
    audio_BS, other_BS = noise(1, 24_000), noise(1, 24_000)
    other_BS[:, 12_000:13_000] += 0.5 * noise(1, 1_000, seed=1)
    change_N = (codec.encode(audio_BS) - codec.encode(other_BS)).abs().amax((0, 2))
    touched = change_N.nonzero()[:, 0]
    assert touched.min() >= 10 and touched.max() <= 14
    changed_BNC = codec.encode(audio_BS)
    before_BMT = codec.vae.decode(changed_BNC.transpose(1, 2)).sample
    changed_BNC[:, 12] += 1
    after_BMT = codec.vae.decode(changed_BNC.transpose(1, 2)).sample
    frames = (before_BMT - after_BMT).abs().amax((0, 1)).nonzero()[:, 0]
    assert frames.min() >= 4 * 11 and frames.max() < 4 * 14


def test_save_and_load_are_bit_equal(tmp_path):
    codec = make_codec()
    codec.save_pretrained(tmp_path)
    assert (tmp_path / "audio_vae" / "diffusion_pytorch_model.safetensors").exists()
    assert (tmp_path / "vocoder" / "config.json").exists()
    loaded = PocketAudioCodec.from_pretrained(tmp_path)
    audio_BS = noise(2, 6_000)
    assert torch.equal(codec.encode(audio_BS), loaded.encode(audio_BS))
    assert torch.equal(codec.decode(codec.encode(audio_BS)), loaded.decode(loaded.encode(audio_BS)))


def test_half_precision_export(tmp_path):
    codec = make_codec()
    codec.save_pretrained(tmp_path / "full")
    codec.save_pretrained(tmp_path / "half", dtype=torch.bfloat16)
    assert codec.vae.dtype == torch.float32
    weights = "audio_vae/diffusion_pytorch_model.safetensors"
    assert (tmp_path / "half" / weights).stat().st_size < 0.7 * (tmp_path / "full" / weights).stat().st_size
    audio_BS = noise(1, 6_000)
    for dtype in (torch.float32, torch.bfloat16):
        loaded = PocketAudioCodec.from_pretrained(tmp_path / "half", torch_dtype=dtype)
        out_BS = loaded.decode(loaded.encode(audio_BS))
        assert out_BS.dtype == torch.float32 and out_BS.isfinite().all()
    assert torch.allclose(codec.encode(audio_BS), loaded.encode(audio_BS), atol=0.1)


def test_the_same_adapter_drives_mmaudio():
    vae = MMAudioVAE(mel_bins=16, latent_channels=8, hidden_channels=8, channel_multipliers=(1, 1), layers_per_block=1)
    vocoder = MMAudioVocoder(16, 16, (8, 8, 8), (16, 16, 16), (3,), ((1,),))
    codec = MMAudioCodec(vae, vocoder)
    assert (codec.sample_rate, codec.samples_per_token, codec.tokens_for(44_100)) == (44_100, 1_024, 43)
    latents_BNC = codec.encode(noise(1, 4_000))
    assert latents_BNC.shape == (1, 4, 8)
    assert codec.decode(latents_BNC).shape == (1, 4_096)


# --- synthesis -------------------------------------------------------------------------------------------------------


def only_tones(vocoder: PocketVocoder, hz: float, frames: int) -> VocoderParts:
    """A sine of amplitude 0.3 by one oscillator, and nothing else."""
    spec = vocoder.spec
    band = int((band_edges(spec)[1:-1] - hz).abs().argmin())
    tone_BTM = torch.zeros(1, frames, spec.bands)
    tone_BTM[:, :, band] = 0.3
    frequency_BTM = band_edges(spec)[1:-1].float().expand(1, frames, -1).clone()
    frequency_BTM[:, :, band] = hz
    silent_BTK = torch.zeros(1, frames, spec.bins)
    flat_2BTG = torch.zeros(2, 1, frames, 10)
    return VocoderParts(tone_BTM, frequency_BTM, silent_BTK, silent_BTK.to(torch.complex64), flat_2BTG)


@pytest.mark.parametrize("hz", [96.0, 443.3, 2_500.0])
def test_an_oscillator_draws_a_steady_sine(hz):
    """Constant amplitude and the right frequency, although no frame begins at the same phase."""
    vocoder = PocketVocoder(**TINY_VOCODER)
    audio_S = vocoder.synthesise(only_tones(vocoder, hz, 32))[0]
    spectrum = torch.fft.rfft(audio_S * torch.hann_window(8_000)).abs()
    assert float(spectrum.argmax()) * 2 == pytest.approx(hz, abs=2)
    level = audio_S.square().unfold(0, 500, 100).mean(1).sqrt()
    assert torch.allclose(level, torch.tensor(0.3 / 2**0.5), rtol=0.06)


def test_fine_loudness_cuts_inside_a_frame():
    """Silence before an attack that lies in the middle of a frame, full level 5 ms after it."""
    vocoder = PocketVocoder(**TINY_VOCODER)
    parts = only_tones(vocoder, 1_000.0, 32)
    parts.loudness_2BTG[0].flatten(1)[:, :165] = -8
    audio_S = vocoder.synthesise(parts)[0]
    assert audio_S[: 164 * 25].abs().max() < 1e-3
    assert audio_S[165 * 25 + 80 :][:1_000].abs().max() > 0.28


def test_frequencies_are_read_between_bins():
    vocoder = PocketVocoder(**TINY_VOCODER)
    read_BTM = tone_frequencies(tone(443.3) + tone(1_777.0), vocoder.spec)
    assert ((read_BTM[0, 16] - 443.3).abs().min() < 0.1) and ((read_BTM[0, 16] - 1_777.0).abs().min() < 0.1)


def test_noise_is_a_function_of_the_sample():
    assert torch.equal(white_noise(500)[100:], white_noise(400, start=100))
    sample = white_noise(100_000)
    assert sample.abs().max() <= 1 and abs(float(sample.mean())) < 0.01
    assert float(sample.square().mean()) == pytest.approx(1 / 3, rel=0.02)
    assert abs(float((sample[1:] * sample[:-1]).mean())) < 0.01


def test_soft_limit_is_identity_then_bends():
    audio = torch.linspace(-3, 3, 601)
    limited = soft_limit(audio)
    quiet = audio.abs() <= 0.9
    assert torch.equal(limited[quiet], audio[quiet])
    assert limited.abs().max() < 1 and (limited.diff() >= 0).all()


# --- training --------------------------------------------------------------------------------------------------------

TINY = AudioCodecRecipe(
    vae=TINY_VAE,
    vocoder=TINY_VOCODER,
    clips=6,
    vae_batch=2,
    vae_crop=2_000,
    vocoder_batch=2,
    vocoder_crop=5_000,
    adversarial_batch=2,
    critic_width=4,
)


def stand_in(seeds: list[int]) -> Tensor:
    return torch.cat([noise(1, 8_000, seed) for seed in seeds])


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> SoundPool:
    path = tmp_path_factory.mktemp("pool") / "pool.npy"
    return SoundPool(build_pool(path, TINY.clips, 0, stand_in, chunk=4))


def quiet(workdir: Path, steps: int) -> LoopConfig:
    return LoopConfig(workdir, steps=steps, on_log=lambda line: None)


class Stopped(Exception):
    """Stands for kill -9: raised out of a step, after the checkpoint of the step before."""


def die_once_in(monkeypatch: pytest.MonkeyPatch, stages: dict[str, int]) -> None:
    """Each named stage dies the first time it begins the given step."""
    from openreels.training import audio_codec, loop

    def run(task, config):
        plain = task.loss

        def loss(drawn):
            step, _ = drawn
            if stages.get(task.name) == step:
                del stages[task.name]
                raise Stopped
            return plain(drawn)

        task.loss = loss
        return loop.run(task, replace(config, checkpoint_minutes=0.0))

    monkeypatch.setattr(audio_codec, "run", run)


def same_weights(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_pool_is_rendered_once_and_bounded(tmp_path):
    path = build_pool(tmp_path / "pool.npy", 5, 0, stand_in, chunk=2)
    before = path.stat().st_mtime_ns
    build_pool(path, 5, 0, stand_in)
    assert path.stat().st_mtime_ns == before and np.load(path).shape == (5, 8_000)
    crops_BS = SoundPool(path).crops(4, 1_000, torch.Generator().manual_seed(0))
    assert crops_BS.shape == (4, 1_000) and crops_BS.abs().max() <= 1


def test_killed_training_goes_on_bit_exactly(pool, tmp_path, monkeypatch):
    """Four steps of each stage against two, a kill, and two more."""

    def train(workdir: Path) -> tuple[PocketAudioVAE, PocketVocoder]:
        vae = train_vae(pool, quiet(workdir, 4), TINY)
        return vae, train_vocoder(vae, pool, quiet(workdir, 4), TINY, (0.5, 0.5))

    whole = train(tmp_path / "whole")
    die_once_in(monkeypatch, {"audio_vae": 2, "vocoder": 2, "vocoder_adversarial": 2})
    for _ in range(3):
        with pytest.raises(Stopped):
            train(tmp_path / "killed")
    resumed = train(tmp_path / "killed")
    assert all(same_weights(a, b) for a, b in zip(whole, resumed, strict=True))


def test_trained_folder_is_a_codec_and_is_not_trained_twice(pool, tmp_path):
    vae = train_vae(pool, quiet(tmp_path, 2), TINY)
    train_vocoder(vae, pool, quiet(tmp_path, 2), TINY, (0.5, 0.5))
    codec = PocketAudioCodec.from_pretrained(tmp_path)
    audio_BS = torch.from_numpy(np.array(pool.clips)).float() / 32_767
    latents_BNC = codec.encode(audio_BS)
    assert torch.allclose(latents_BNC.mean((0, 1)), torch.zeros(6), atol=1e-2)
    assert torch.allclose(latents_BNC.std((0, 1)), torch.ones(6), atol=2e-2)

    def never(seeds: list[int]) -> Tensor:
        raise AssertionError("rendered again")

    np.save(tmp_path / "pool.npy", np.array(pool.clips))
    again = train_audio_codec(tmp_path, minutes=1, recipe=TINY, render=never)
    assert torch.equal(again.encode(audio_BS), latents_BNC)

    onward = train_audio_codec(tmp_path, minutes=1, recipe=TINY, render=never, go_on=True, steps=2)
    assert torch.equal(onward.encode(audio_BS), latents_BNC)  # latents that are kept stay right
    assert not same_weights(onward.vae.decoder, again.vae.decoder)
    assert not same_weights(onward.vocoder, again.vocoder)
    read = PocketAudioCodec.from_pretrained(tmp_path)
    assert same_weights(read.vae, onward.vae) and same_weights(read.vocoder, onward.vocoder)


def test_the_pool_holds_what_plain_scenes_never_sound_like():
    sounds = render_world([1, 4, 8, 12])
    assert sounds.shape == (4, 32_000) and (sounds.abs().amax(1) > 0.01).all()
    manners = [manner_of_voice(sound.numpy()) for sound in sounds]
    assert manners[2] == "sung" and "sung" not in (manners[0], manners[1])
