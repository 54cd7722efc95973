"""References to video: one to four pictures of subjects, and a prompt -> a video in which they appear.

Legend: B batch (always 1), C channels, F latent frames, T frames, H W pixels, L text tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from diffusers import AutoencoderKLWan
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from openreels.media.aspect import centre_crop
from openreels.media.timing import frames_for, padded_frames
from openreels.models.wan import SkyReelsV3Transformer
from openreels.pipelines.v3.base import Progress, Steps, V3Output, V3Pipeline
from openreels.pipelines.v3.images import Picture, letterbox, official_picture, picture_of, pixels_of, to_uint8
from openreels.pipelines.v3.plans import FPS, SLOTS, latents_of, shown_frames
from openreels.pipelines.v3.sizes import BUCKETS, Size, exact_aspect, pick_size
from openreels.request import RequestError

__all__ = ["SkyReelsV3ReferencePipeline"]


class SkyReelsV3ReferencePipeline(V3Pipeline):
    """SkyReels-V3-R2V.

    Source of the official mode: shared/spec/v3.md, section 4.
    """

    model_cpu_offload_seq = "text_encoder->transformer->vae"

    def __init__(
        self,
        transformer: SkyReelsV3Transformer,
        vae: AutoencoderKLWan,
        text_encoder: UMT5EncoderModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ):
        super().__init__()
        self.register_modules(transformer=transformer, vae=vae, text_encoder=text_encoder, tokenizer=tokenizer)

    @torch.no_grad()
    def __call__(
        self,
        references: Picture | Sequence[Picture],
        prompt: str | None = None,
        *,
        prompt_embeds: Tensor | None = None,
        negative_prompt: str | None = None,
        negative_prompt_embeds: Tensor | None = None,
        duration: float | None = None,
        num_frames: int | None = None,
        fps: Fraction | float = FPS,
        resolution: str = "720P",
        aspect: str | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 8,
        guidance_scale: float = 1.0,
        image_guidance_scale: float = 1.0,
        shift: float = 5.0,
        generator: torch.Generator | None = None,
        seed: int = 0,
        official: bool = False,
        output_type: str = "np",
        progress: Progress | None = None,
    ) -> V3Output:
        """Make a video.

        references: 1 to 4 pictures (Pillow, (H, W, 3) uint8, files, still clips). Shown whole, on white.
        prompt or prompt_embeds (1, L, D): what happens. negative_prompt: used where guidance_scale is not 1.
        duration (seconds) or num_frames: default 5 s. fps: of the result; the model draws 24 and other rates show the
        frame nearest in time. resolution: 480P, 540P or 720P; aspect: 16:9, 4:3, 1:1, 3:4, 9:16, by default that of
        the first reference; height and width instead of both: multiples of 16.
        official: repeat the released code (see docs/v3.md). progress: called as progress(done, total) after each step.
        Raises ValueError: one sentence on what is wrong, before anything is computed.
        """
        pictures = self._check_references(references, official)
        guidance = DualGuidance(guidance_scale, image_guidance_scale, official)
        self.check_text(prompt, prompt_embeds, negative_prompt, negative_prompt_embeds, guidance.negative)
        self.check_sampler(num_inference_steps, shift, guidance_scale, image_guidance_scale)
        self.check_output_type(output_type)
        fps = self.check_fps(fps)
        shown, drawn = self._lengths(duration, num_frames, fps, official)
        size = pick_size(pictures[0].size[::-1], BUCKETS, resolution, aspect, height, width)
        generator = self.generator_of(generator, seed)

        text_BLD = self.encode_text(prompt, prompt_embeds)
        negative_BLD = self.encode_text(negative_prompt or "", negative_prompt_embeds) if guidance.negative else None
        latents_BCFHW = self.noise(latents_of(drawn), *size, generator)
        # The official code draws the references' posteriors after the noise, from the same generator; their mean needs
        # no luck and makes a picture mean the same under every seed.
        references_BCFHW = self._encode_references(pictures, size, generator if official else None)
        latents_BCFHW = self.sample(
            latents_BCFHW,
            lambda x, t: guidance(self._velocity, x, t, text_BLD, negative_BLD, references_BCFHW),
            num_inference_steps,
            shift,
            Steps(progress, num_inference_steps),
        )
        if output_type == "latent":
            return self.finish_latents(latents_BCFHW, FPS)
        frames_THWC = to_uint8(self.codec.decode(latents_BCFHW))[0]
        if not official:
            frames_THWC = frames_THWC[shown_frames(shown, fps, len(frames_THWC), FPS)]
            if aspect:
                frames_THWC = centre_crop(frames_THWC, *exact_aspect(*size, aspect))
        return self.finish(frames_THWC, fps, output_type)

    def _check_references(self, references: Picture | Sequence[Picture], official: bool) -> list[Image.Image]:
        given = list(references) if isinstance(references, list | tuple) else [references]
        if not 1 <= len(given) <= SLOTS:
            raise RequestError(f"references must be 1 to {SLOTS} pictures, not {len(given)}")
        read = official_picture if official else picture_of
        return [read(picture, f"reference {index}") for index, picture in enumerate(given, start=1)]

    def _lengths(
        self, duration: float | None, num_frames: int | None, fps: Fraction, official: bool
    ) -> tuple[int, int]:
        """(frames of the result, frames drawn at 24 fps). Raises ValueError."""
        if duration is not None and num_frames is not None:
            raise RequestError("give either duration or num_frames")
        if num_frames is not None and (num_frames != int(num_frames) or num_frames < 1):
            raise RequestError(f"num_frames must be a whole number from 1 up, not {num_frames}")
        duration = self.check_duration(5 if duration is None else duration)
        if official:
            if fps != FPS or duration != int(duration):
                raise RequestError(f"official mode draws whole seconds at {FPS} fps, not {duration:g} s at {fps} fps")
            drawn = num_frames or FPS * int(duration) + 1
            return drawn, drawn
        shown = num_frames or frames_for(duration, fps)
        return shown, padded_frames(shown_frames(shown, fps, 10**9, FPS)[-1] + 1)

    def _encode_references(
        self, pictures: Sequence[Image.Image], size: Size, generator: torch.Generator | None
    ) -> Tensor:
        """(1, C, 4, H / 8, W / 8): one latent frame each, zeros where there is no picture."""
        official = generator is not None
        frames = [pixels_of([letterbox(picture, *size, official)]) for picture in pictures]
        encoded = [self.codec.encode(frame.to(self._execution_device), generator=generator) for frame in frames]
        encoded += [torch.zeros_like(encoded[0])] * (SLOTS - len(encoded))
        return torch.cat(encoded, dim=2)

    def _velocity(self, latents_BCFHW: Tensor, time: Tensor, text_BLD: Tensor, references_BCFHW: Tensor) -> Tensor:
        """References take the places in time right after the video; what is predicted for them is dropped."""
        frames = latents_BCFHW.shape[2]
        states = torch.cat([latents_BCFHW, references_BCFHW], dim=2)
        return self.transformer(states, time.expand(1), text_BLD).sample[:, :, :frames]


@dataclass(frozen=True)
class DualGuidance:
    """v = v_none + image * (v_image - v_none) + text * (v_full - v_image), in as few evaluations as it takes.

    v_full: prompt and references; v_image: negative prompt and references; v_none: negative prompt, empty slots.
    official: off unless text > 1, then always all three.
    """

    text: float
    image: float
    official: bool = False

    @property
    def negative(self) -> bool:
        """Whether the negative prompt is needed."""
        return self.text > 1 if self.official else (self.text, self.image) != (1, 1)

    def __call__(
        self,
        velocity: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
        latents_BCFHW: Tensor,
        time: Tensor,
        text_BLD: Tensor,
        negative_BLD: Tensor | None,
        references_BCFHW: Tensor,
    ) -> Tensor:
        if not self.negative:
            return velocity(latents_BCFHW, time, text_BLD, references_BCFHW)
        branches = (
            (self.text, text_BLD, references_BCFHW),
            (self.image - self.text, negative_BLD, references_BCFHW),
            (1 - self.image, negative_BLD, torch.zeros_like(references_BCFHW)),
        )
        weighted = [
            weight * velocity(latents_BCFHW, time, text, references)
            for weight, text, references in branches
            if weight or self.official
        ]
        return sum(weighted)
