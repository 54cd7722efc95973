"""The V4 generation pipeline: a list of steps over components that know nothing of each other.

Legend: B batch, T frames, H W pixels, N video tokens, A audio tokens, C channels, S samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar
from zlib import crc32

import torch
from diffusers import DiffusionPipeline, ModelMixin
from diffusers.utils import BaseOutput
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, SequenceFeatureExtractor
from transformers.image_processing_utils import BaseImageProcessor

from openreels.encoders.multimodal import MultimodalEncoder
from openreels.encoders.prompt import PromptParts
from openreels.flow.guidance import Guidance
from openreels.flow.sampling import Progress, sample
from openreels.flow.schedule import Schedule
from openreels.media import Clip
from openreels.media.timing import samples_for
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.pipelines.caching import step_cache
from openreels.pipelines.components import adapted_audio, adapted_text, adapted_video, check_fit
from openreels.pipelines.parallel import BatchParallel, share
from openreels.tasks.states import audio_state, video_state
from openreels.types import StreamState

__all__ = ["SkyReelsV4Output", "SkyReelsV4Pipeline"]


@dataclass
class SkyReelsV4Output(BaseOutput):
    """frames: (B, T, H, W, 3) uint8, or None. audio: (B, S) float32 in [-1, 1], or None; of more than one channel
    (B, K, S). Latents: (B, N, C) each."""

    frames: Tensor | None
    audio: Tensor | None


class SkyReelsV4Pipeline(DiffusionPipeline):
    """Text to video with its sound.

    Codecs and text encoder are of any class that `pipelines/components.py` lists. image_processor, feature_extractor:
    eyes and ears of a multimodal text encoder.
    fps: frames per second of what the transformer was trained on. steps, guidance, cross_modal_guidance, audio_lag,
    shift: what `__call__` uses where it is not told otherwise. audio_channels: 1, or 2 for stereo. text_layer,
    system_prompt: see `MultimodalEncoder`; None is HunyuanVideo-1.5's. offers: what the model was made for, fields of
    `Capabilities` such as {"resolutions": ["480p"], "durations": [3, 15]}; see `registry.capabilities`. All of these
    travel with the weights. Raises ValueError where parts do not fit together.
    """

    model_cpu_offload_seq = "text_encoder->transformer->video_vae->audio_vae->vocoder"
    _optional_components: ClassVar = ["image_processor", "feature_extractor"]

    def __init__(
        self,
        transformer: SkyReelsV4Transformer,
        video_vae: ModelMixin,
        audio_vae: ModelMixin,
        vocoder: ModelMixin,
        text_encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: BaseImageProcessor | None = None,
        feature_extractor: SequenceFeatureExtractor | None = None,
        fps: int = 16,
        steps: int = 30,
        guidance: float = 3.0,
        cross_modal_guidance: float = 2.5,
        audio_lag: float = 0.15,
        shift: float = 1.0,
        audio_channels: int = 1,
        text_layer: int = -3,
        system_prompt: str | None = None,
        offers: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.register_modules(
            transformer=transformer,
            video_vae=video_vae,
            audio_vae=audio_vae,
            vocoder=vocoder,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            image_processor=image_processor,
            feature_extractor=feature_extractor,
        )
        self.register_to_config(
            fps=fps,
            steps=steps,
            guidance=guidance,
            cross_modal_guidance=cross_modal_guidance,
            audio_lag=audio_lag,
            shift=shift,
            audio_channels=audio_channels,
            text_layer=text_layer,
            system_prompt=system_prompt,
            offers=offers,
        )
        self.video_codec = adapted_video(video_vae, transformer)
        self.audio_codec = adapted_audio(audio_vae, vocoder, audio_channels)
        self.encoder = adapted_text(
            text_encoder, tokenizer, image_processor, feature_extractor, text_layer, system_prompt
        )
        check_fit(transformer, self.video_codec, self.audio_codec, self.encoder)
        self._shared: BatchParallel | None = None

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        negative_prompt: str | Sequence[str] = "",
        media: Mapping[str, Clip] | Sequence[Mapping[str, Clip]] | None = None,
        num_frames: int = 33,
        height: int = 64,
        width: int = 64,
        video: bool = True,
        audio: bool = True,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        seed: int | Sequence[int] = 0,
        output_type: str = "pt",
        park_text_encoder: bool = False,
        cache_interval: int = 1,
        progress: Progress | None = None,
    ) -> SkyReelsV4Output:
        """Generate one clip per prompt.

        media: pictures, clips and sounds by the tag that names them in the prompt, for a multimodal text encoder; for
        all prompts, or one mapping each. num_frames: 4k + 1. height, width: multiples of the video codec's
        `spatial_factor` (16 pixels). video, audio: what to make. seed: one per prompt, or one for the first, counted
        up. output_type: "pt" (frames and samples) or "latent". park_text_encoder: a large one waits in main memory
        while the rest works. cache_interval: of so many steps one is computed, the rest is extrapolated (see
        `caching.step_cache`). progress: called after each step.
        Raises ValueError for sizes the codecs cannot take, and for tags and media that do not match.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        negatives = [negative_prompt] * len(prompts) if isinstance(negative_prompt, str) else list(negative_prompt)
        seeds = [seed + i for i in range(len(prompts))] if isinstance(seed, int) else list(seed)
        named = [media or {}] * len(prompts) if media is None or isinstance(media, Mapping) else list(media)
        if not len(prompts) == len(negatives) == len(seeds) == len(named) or not (video or audio):
            raise ValueError(
                "give one negative prompt, seed and mapping of media per prompt, and ask for video, audio or both"
            )
        if isinstance(self.encoder, MultimodalEncoder) or any(named):
            prompts = [PromptParts.of(*pair) for pair in zip(prompts, named, strict=True)]
        device = self._execution_device
        fps = Fraction(self.config.fps)
        video_shape = self.video_codec.shape(num_frames, height, width, fps)
        audio_shape = self.audio_codec.shape(samples_for(num_frames, fps, self.audio_codec.sample_rate))

        positive, negative = self.encoder.encode(prompts, device), self.encoder.encode(negatives, device)
        if park_text_encoder:
            self.encoder.park()
        video_start = self._noise(video_state(video_shape, len(prompts)), seeds, salt=0) if video else None
        blank = audio_state(audio_shape, video_shape.latent_frames, len(prompts))
        audio_start = self._noise(blank, seeds, salt=1) if audio else None
        both = video and audio
        schedule = Schedule(
            num_inference_steps or self.config.steps, self.config.shift, self.config.audio_lag if both else 0.0
        )
        guidance = Guidance(
            self.config.guidance if guidance_scale is None else guidance_scale, self.config.cross_modal_guidance
        )
        with step_cache(self.transformer, cache_interval):
            model = self._shared or self.transformer
            video_end, audio_end = sample(
                model, video_start, audio_start, positive, negative, schedule, guidance, progress
            )
        frames = video_end.noisy_BNC if video_end else None
        samples = audio_end.noisy_BNC if audio_end else None
        if output_type == "latent":
            return SkyReelsV4Output(frames, samples)
        return SkyReelsV4Output(
            None if frames is None else self.video_codec.decode(frames, video_shape, device),
            None if samples is None else self.audio_codec.decode(samples, audio_shape.samples, device),
        )

    def enable_parallel(self, context: int = 1) -> None:
        """From now on all processes of the default group sample together; each calls the pipeline alike.

        context: processes that share the tokens of one clip; groups of so many divide the branches of guidance.
        Raises ValueError where the processes do not divide into such groups.
        """
        self._shared = share(self.transformer, context)

    def _noise(self, state: StreamState, seeds: Sequence[int], salt: int) -> StreamState:
        """Noise that depends on each sample's own seed and modality alone: drawn on the CPU, the same on any device."""
        draws = []
        for seed in seeds:
            # torch's CPU generator looks at 32 bits of a seed: hashed, all 63 of a request's count.
            generator = torch.Generator().manual_seed(crc32(f"{seed}/{salt}".encode()))
            draws.append(torch.randn(state.noisy_BNC.shape[1:], generator=generator))
        return state.at(torch.stack(draws), state.time_B).to(self._execution_device)
