"""V3's speech encoder. Its numbers against the official ones: tests/golden."""

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from openreels.encoders.wav2vec import Wav2VecEncoder

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model() -> Wav2Vec2Model:
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    sizes |= {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    return Wav2Vec2Model(Wav2Vec2Config(**sizes, conv_dim=[4] * 7)).eval()


def speech(samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(1)) + 0.3


@pytest.mark.parametrize(
    ("samples", "fps", "frames"), [(16_000, 25, 25), (16_001, 25, 26), (8_000, 24, 12), (35_200, 25, 55)]
)
def test_one_row_per_video_frame_and_layer(model, samples, fps, frames):
    features = Wav2VecEncoder(model)(speech(samples), fps)
    assert features.shape == (frames, 3, 8) and not features.requires_grad


def test_the_release_counts_rows_in_floating_point(model):
    assert len(Wav2VecEncoder(model)(speech(35_200), 25, official=True)) == 56


def test_layers_are_those_of_the_model(model):
    """Where no interpolation is needed (50 Hz), the last layer is what the model itself gives."""
    encoder = Wav2VecEncoder(model)
    encoder.normalise = False
    features = encoder(speech(16_000), fps=49)
    with torch.no_grad():
        expected = model(speech(16_000)[None]).last_hidden_state[0]
    torch.testing.assert_close(features[:, -1], expected, atol=1e-5, rtol=0)


def test_normalised_as_the_checkpoint_says(model):
    wave = speech(8_000)
    library = Wav2Vec2FeatureExtractor(do_normalize=True)
    ready = torch.from_numpy(np.asarray(library(wave.numpy(), sampling_rate=16_000).input_values[0]))
    plain = Wav2VecEncoder(model, Wav2Vec2FeatureExtractor(do_normalize=False))
    expected = plain(ready)
    assert (plain(wave) - expected).abs().max() > 1e-3
    for encoder in (Wav2VecEncoder(model), Wav2VecEncoder(model, library)):
        torch.testing.assert_close(encoder(wave), expected, atol=1e-5, rtol=0)


def test_silence_and_too_little_sound(model):
    assert bool(Wav2VecEncoder(model)(torch.zeros(8_000)).isfinite().all())
    with pytest.raises(ValueError, match="sound of 399 samples at 16 kHz is too short"):
        Wav2VecEncoder(model)(torch.zeros(399))
    assert len(Wav2VecEncoder(model)(torch.zeros(400))) == 1
