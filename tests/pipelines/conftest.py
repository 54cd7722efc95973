"""A whole pipeline of the real classes at tiny sizes, with random weights."""

import pytest
import torch

from openreels.codecs.audio import PocketAudioVAE
from openreels.codecs.video import PocketVideoVAE
from openreels.codecs.vocoder import PocketVocoder
from openreels.encoders.text import new_text_encoder, train_tokenizer
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.pipelines.v4 import SkyReelsV4Pipeline


@pytest.fixture(scope="session")
def tiny_pipeline() -> SkyReelsV4Pipeline:
    torch.manual_seed(0)
    encoder = new_text_encoder(
        train_tokenizer(["a red ball bounces", "一个红色的球"], 300), width=16, layers=1, heads=2
    )
    transformer = SkyReelsV4Transformer(4, 3, 16, 2, (4, 6, 6), 1, 1, modulation_rank=4, time_bias_slope=1.0)
    with torch.no_grad():
        for parameter in transformer.parameters():  # zero-initialised outputs would hide everything behind them
            parameter.add_(0.05 * torch.randn_like(parameter))
    return SkyReelsV4Pipeline(
        transformer=transformer.eval(),
        video_vae=PocketVideoVAE(
            latent_channels=4,
            encoder_channels=(8, 8, 8),
            encoder_blocks=(1, 1, 1),
            decoder_channels=(8, 8, 8),
            decoder_blocks=(1, 1, 1),
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ).eval(),
        audio_vae=PocketAudioVAE(latent_channels=3, hidden=16, latents_mean=[0.0] * 3, latents_std=[1.0] * 3).eval(),
        vocoder=PocketVocoder().eval(),
        text_encoder=encoder.model.eval(),
        tokenizer=encoder.tokenizer,
        steps=3,
    )
