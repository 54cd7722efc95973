"""The V4 generation pipeline: a list of steps over components that know nothing of each other.

Legend: B batch, T frames, H W pixels, N video tokens, A audio tokens, C channels, S samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from zlib import crc32

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5EncoderModel

from openreels.codecs.audio import PocketAudioCodec, PocketAudioVAE
from openreels.codecs.video import PocketVideoVAE, VideoCodec
from openreels.codecs.vocoder import PocketVocoder
from openreels.encoders.text import TextEncoder
from openreels.flow.guidance import Guidance
from openreels.flow.sampling import Progress, sample
from openreels.flow.schedule import Schedule
from openreels.media.timing import samples_for
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.tasks.states import audio_state, video_state
from openreels.types import StreamState

__all__ = ["SkyReelsV4Output", "SkyReelsV4Pipeline"]


@dataclass
class SkyReelsV4Output(BaseOutput):
    """frames: (B, T, H, W, 3) uint8, or None. audio: (B, S) float32 in [-1, 1], or None. Latents: (B, N, C) each."""

    frames: Tensor | None
    audio: Tensor | None


class SkyReelsV4Pipeline(DiffusionPipeline):
    """Text to video with its sound.

    fps: frames per second of what the transformer was trained on. steps, guidance, cross_modal_guidance, audio_lag,
    shift: what `__call__` uses where it is not told otherwise; they travel with the weights.
    """

    model_cpu_offload_seq = "text_encoder->transformer->video_vae->audio_vae->vocoder"

    def __init__(
        self,
        transformer: SkyReelsV4Transformer,
        video_vae: PocketVideoVAE,
        audio_vae: PocketAudioVAE,
        vocoder: PocketVocoder,
        text_encoder: T5EncoderModel,
        tokenizer: PreTrainedTokenizerFast,
        fps: int = 16,
        steps: int = 30,
        guidance: float = 3.0,
        cross_modal_guidance: float = 2.5,
        audio_lag: float = 0.15,
        shift: float = 1.0,
    ):
        super().__init__()
        self.register_modules(
            transformer=transformer,
            video_vae=video_vae,
            audio_vae=audio_vae,
            vocoder=vocoder,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
        )
        self.register_to_config(
            fps=fps,
            steps=steps,
            guidance=guidance,
            cross_modal_guidance=cross_modal_guidance,
            audio_lag=audio_lag,
            shift=shift,
        )
        self.video_codec = VideoCodec(video_vae)
        self.audio_codec = PocketAudioCodec(audio_vae, vocoder)
        self.encoder = TextEncoder(tokenizer, text_encoder)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        negative_prompt: str | Sequence[str] = "",
        num_frames: int = 33,
        height: int = 64,
        width: int = 64,
        video: bool = True,
        audio: bool = True,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        seed: int | Sequence[int] = 0,
        output_type: str = "pt",
        progress: Progress | None = None,
    ) -> SkyReelsV4Output:
        """Generate one clip per prompt.

        num_frames: 4k + 1. height, width: multiples of 16 pixels. video, audio: what to make. seed: one per
        prompt, or one for the first, counted up. output_type: "pt" (frames and samples) or "latent".
        progress: called after each step.
        Raises ValueError for sizes the codecs cannot take.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        negatives = [negative_prompt] * len(prompts) if isinstance(negative_prompt, str) else list(negative_prompt)
        seeds = [seed + i for i in range(len(prompts))] if isinstance(seed, int) else list(seed)
        if not len(prompts) == len(negatives) == len(seeds) or not (video or audio):
            raise ValueError("give one negative prompt and one seed per prompt, and ask for video, audio or both")
        fps = Fraction(self.config.fps)
        video_shape = self.video_codec.shape(num_frames, height, width, fps)
        audio_shape = self.audio_codec.shape(samples_for(num_frames, fps, self.audio_codec.sample_rate))

        positive, negative = self.encoder.encode(prompts), self.encoder.encode(negatives)
        video_start = self._noise(video_state(video_shape, len(prompts)), seeds, salt=0) if video else None
        blank = audio_state(audio_shape, video_shape.latent_frames, len(prompts))
        audio_start = self._noise(blank, seeds, salt=1) if audio else None
        both = video and audio
        video_end, audio_end = sample(
            self.transformer,
            video_start,
            audio_start,
            positive,
            negative,
            Schedule(
                num_inference_steps or self.config.steps, self.config.shift, self.config.audio_lag if both else 0.0
            ),
            Guidance(
                self.config.guidance if guidance_scale is None else guidance_scale, self.config.cross_modal_guidance
            ),
            progress,
        )
        frames = video_end.noisy_BNC if video_end else None
        samples = audio_end.noisy_BNC if audio_end else None
        if output_type == "latent":
            return SkyReelsV4Output(frames, samples)
        return SkyReelsV4Output(
            None if frames is None else self.video_codec.decode(frames, video_shape),
            None if samples is None else self.audio_codec.decode(samples)[:, : audio_shape.samples],
        )

    def _noise(self, state: StreamState, seeds: Sequence[int], salt: int) -> StreamState:
        """Noise that depends on each sample's own seed and modality alone: drawn on the CPU, the same on any device."""
        draws = []
        for seed in seeds:
            # torch's CPU generator looks at 32 bits of a seed: hashed, all 63 of a request's count.
            generator = torch.Generator().manual_seed(crc32(f"{seed}/{salt}".encode()))
            draws.append(torch.randn(state.noisy_BNC.shape[1:], generator=generator))
        return state.at(torch.stack(draws), state.time_B).to(self.transformer.device)
