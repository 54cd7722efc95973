"""The speech encoder of the V3 avatar: wav2vec2, with its 50 Hz features brought to the video's frame rate first.

Source: spec/v3.md 6.2: the convolutions' output is interpolated linearly to one row per video frame, then projected and
encoded; the outputs of all layers are kept.

Legend: N samples, V video frames, Y layers (12), C width (768).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from openreels.media.timing import exact

if TYPE_CHECKING:
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

__all__ = ["SAMPLE_RATE", "Wav2VecEncoder"]

SAMPLE_RATE = 16_000


class Wav2VecEncoder:
    """Speech -> features of every layer, per video frame.

    model: in float32 on the CPU officially; used where and as it is. feature_extractor: the checkpoint's, which says
    whether the waveform is normalised; without one, `model.config.do_normalize` does (set by the loader from the
    checkpoint's preprocessor_config.json; yes if that is missing, as in transformers).
    """

    def __init__(self, model: Wav2Vec2Model, feature_extractor: Wav2Vec2FeatureExtractor | None = None):
        source = model.config if feature_extractor is None else feature_extractor
        self.model, self.normalise = model, getattr(source, "do_normalize", True)

    @torch.no_grad()
    def __call__(self, audio: Tensor, fps: Fraction | float = 25, official: bool = False) -> Tensor:
        """(N,) mono at 16 kHz -> (V, Y, C) in the model's dtype, V = ceil(fps * seconds).

        official: V as the release's floating point has it, for some lengths one more (2.2 s at 25 fps: 56).
        Raises ValueError for sound too short for a single feature (25 ms).
        """
        if not self._features_of(len(audio)):
            raise ValueError(f"sound of {len(audio)} samples at 16 kHz is too short to encode.")
        seconds = len(audio) / SAMPLE_RATE if official else Fraction(len(audio), SAMPLE_RATE)
        frames = math.ceil(seconds * (fps if official else exact(fps)))
        wave = audio.to(self.model.device, torch.float32)[None]
        if self.normalise:
            # Wav2Vec2FeatureExtractor: zero mean, unit (population) variance, 1e-7 against silence.
            wave = (wave - wave.mean()) / (wave.var(correction=0) + 1e-7).sqrt()
        features = self.model.feature_extractor(wave.to(self.model.dtype))
        features = torch.nn.functional.interpolate(features, frames, mode="linear", align_corners=True)
        hidden_1VC, _ = self.model.feature_projection(features.transpose(1, 2))
        return torch.stack(self._layers(hidden_1VC), dim=2)[0]

    def _features_of(self, samples: int) -> int:
        """How many features the convolutions make of so many samples."""
        for kernel, stride in zip(self.model.config.conv_kernel, self.model.config.conv_stride, strict=True):
            samples = max(0, (samples - kernel) // stride + 1)
        return samples

    def _layers(self, hidden_1VC: Tensor) -> list[Tensor]:
        """Outputs of all encoder layers. Through hooks: what the encoder itself returns varies between versions."""
        outputs: list[Tensor] = []

        def keep(module, args, output):
            outputs.append(output[0] if isinstance(output, tuple) else output)

        hooks = [layer.register_forward_hook(keep) for layer in self.model.encoder.layers]
        try:
            self.model.encoder(hidden_1VC)
        finally:
            for hook in hooks:
                hook.remove()
        return outputs
