"""What the three V3 pipelines share: prompts, noise, the sampling loop, finished frames.

Legend: B batch (always 1), C channels, F latent frames, T frames, H W pixels, L text tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal
from zlib import crc32

import numpy as np
import torch
from accelerate.utils.memory import clear_device_cache
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor, nn

from openreels.codecs.wan import WanVideoCodec
from openreels.encoders.umt5 import UMT5TextEncoder
from openreels.flow.unipc import unipc
from openreels.media import Clip
from openreels.media.timing import exact
from openreels.request import RequestError

__all__ = ["FACTOR", "OutputType", "Progress", "Steps", "V3Output", "V3Pipeline", "ready"]

FACTOR = 8  # pixels per latent, each way
TEXT_TOKENS = 512  # the released networks attend to all of them, padding included
OutputType = Literal["np", "pil", "latent"]
Progress = Callable[[int, int], None]


@dataclass
class V3Output(BaseOutput):
    """What a pipeline made; one video, with a batch axis of 1 as diffusers' pipelines have it.

    frames: by output_type: "np" (1, T, H, W, 3) uint8; "pil" a list of one list of Pillow images; "latent" normalised
    latents (passes, 16, F, h, w) float32 on the CPU, as they leave the sampler: nothing trimmed, joined or recoloured.
    fps: of the frames, exact. audio: (C, N) float32 in [-1, 1], or None. sample_rate: Hz, 0 without audio.
    """

    frames: np.ndarray | list[list[Image.Image]] | Tensor
    fps: Fraction
    audio: np.ndarray | None = None
    sample_rate: int = 0

    @property
    def clip(self) -> Clip:
        """Frames and sound as a `Clip`, ready to save; it shares the memory of "np" frames. Raises ValueError for
        latents."""
        if isinstance(self.frames, Tensor):
            raise RequestError("latents are no clip yet; ask for output_type np or pil")
        frames = self.frames[0]
        if not isinstance(frames, np.ndarray):
            frames = np.stack([np.asarray(frame) for frame in frames])
        return Clip(np.ascontiguousarray(frames), self.fps, self.audio, self.sample_rate)


def ready(component: nn.Module) -> nn.Module:
    """The component on the device where it computes. Offloading brings it there when it is called, which is too late
    for an encoder that asks it where it is, and never for one that calls its parts."""
    hook = getattr(component, "_hf_hook", None)
    if hook is not None:
        hook.pre_forward(component)
    return component


class Steps:
    """Counts the sampling steps of all passes for a progress callback, called as progress(done, total)."""

    def __init__(self, progress: Progress | None, total: int):
        self.progress, self.total, self.done = progress, total, 0

    def advance(self, steps: int = 1) -> None:
        self.done += steps
        if self.progress is not None:
            self.progress(self.done, self.total)


class V3Pipeline(DiffusionPipeline):
    """Base: components are registered by the subclass; `text_encoder` and `tokenizer` may be None where every prompt
    comes as embeddings."""

    _optional_components: ClassVar[list[str]] = ["text_encoder", "tokenizer"]

    @property
    def codec(self) -> WanVideoCodec:
        return WanVideoCodec(self.alone(self.vae))

    def alone(self, component: nn.Module) -> nn.Module:
        """The component on the device where it computes and, with `enable_model_cpu_offload`, all others in RAM.

        The hooks of accelerate send away only the one before in the sequence, whichever of them worked before.
        """
        hooks = getattr(self, "_all_hooks", None) or ()
        for hook in hooks:
            if hook.model is not component:
                hook.offload()
        if hooks:
            clear_device_cache()
        return ready(component)

    # -- what is asked ------------------------------------------------------------------------------------------------

    @staticmethod
    def check_output_type(output_type: str) -> None:
        if output_type not in ("np", "pil", "latent"):
            raise RequestError(f"output_type must be np, pil or latent, not {output_type!r}")

    @staticmethod
    def check_sampler(num_inference_steps: int, shift: float, *scales: float) -> None:
        """Raises ValueError where a number of the sampler is out of range."""
        if num_inference_steps != int(num_inference_steps) or not 1 <= num_inference_steps <= 1000:
            raise RequestError(f"num_inference_steps must be a whole number from 1 to 1,000, not {num_inference_steps}")
        if not 0 < shift <= 100:
            raise RequestError(f"shift must be a number above 0 and up to 100, not {shift}")
        for scale in scales:
            if not 0 <= scale <= 100:
                raise RequestError(f"guidance scales must be numbers from 0 to 100, not {scale}")

    @staticmethod
    def check_duration(duration: float) -> float:
        if not 0 < duration <= 200:
            raise RequestError(f"duration must be a number of seconds above 0 and up to 200, not {duration}")
        return duration

    @staticmethod
    def check_fps(fps: Fraction | float) -> Fraction:
        rate = exact(fps) if fps == fps and abs(fps) != float("inf") else Fraction(0)
        if not 1 <= rate <= 240:
            raise RequestError(f"fps must be a number from 1 to 240, not {fps}")
        return rate

    def check_text(
        self,
        prompt: str | None,
        prompt_embeds: Tensor | None,
        negative_prompt: str | None,
        negative_prompt_embeds: Tensor | None,
        guided: bool,
    ) -> None:
        """Raises ValueError unless there is one prompt, as text or embeddings, and all of it can be used.

        guided: whether guidance is on, which needs a negative prompt, if only the default one.
        """
        if prompt is None and prompt_embeds is None:
            raise RequestError("prompt is missing: give a text, or prompt_embeds")
        self.check_prompt(prompt, prompt_embeds, "prompt")
        if negative_prompt is not None or negative_prompt_embeds is not None:
            self.check_prompt(negative_prompt, negative_prompt_embeds, "negative_prompt", empty=True)
        elif guided and (self.text_encoder is None or self.tokenizer is None):
            raise RequestError("guidance needs negative_prompt_embeds where this pipeline has no text encoder")

    def check_prompt(self, prompt: str | None, embeds: Tensor | None, name: str, empty: bool = False) -> None:
        if prompt is not None and embeds is not None:
            raise RequestError(f"give either {name} or {name}_embeds")
        if embeds is not None:
            if embeds.ndim not in (2, 3) or (embeds.ndim == 3 and len(embeds) != 1):
                raise RequestError(f"{name}_embeds must be (1, tokens, width), not {tuple(embeds.shape)}")
            return
        if not isinstance(prompt, str) or not (prompt.strip() or empty):
            raise RequestError(f"{name} must be a text that is not empty")
        if self.text_encoder is None or self.tokenizer is None:
            raise RequestError(f"this pipeline has no text encoder: give {name}_embeds instead of {name}")

    @staticmethod
    def generator_of(generator: torch.Generator | None, seed: int) -> torch.Generator:
        """The user's own, or one on the CPU, so that a seed means the same on every device."""
        if generator is not None:
            return generator
        # torch's CPU generator looks at 32 bits of a seed: of a longer one all count, hashed.
        return torch.Generator().manual_seed(seed if 0 <= seed < 2**32 else crc32(str(seed).encode()))

    # -- steps --------------------------------------------------------------------------------------------------------

    def encode_text(self, prompt: str | None, embeds_BLD: Tensor | None) -> Tensor:
        """(1, L, D): embeddings as given, or of the prompt: 512 tokens, zero beyond its end."""
        if embeds_BLD is None:
            return UMT5TextEncoder(self.alone(self.text_encoder), self.tokenizer)([prompt])
        embeds_BLD = embeds_BLD if embeds_BLD.ndim == 3 else embeds_BLD[None]
        return embeds_BLD.to(self._execution_device)

    def noise(self, frames: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """(1, C, frames, height / 8, width / 8) float32, drawn where the generator lives."""
        shape = (1, self.vae.config.z_dim, frames, height // FACTOR, width // FACTOR)
        drawn = torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float32)
        return drawn.to(self._execution_device)

    def sample(
        self,
        latents_BCFHW: Tensor,
        velocity: Callable[[Tensor, Tensor], Tensor],
        num_inference_steps: int,
        shift: float,
        counter: Steps,
    ) -> Tensor:
        """From noise to data with UniPC. velocity: called with latents and the time (a scalar, 0..1000, truncated)."""
        scheduler = unipc(num_inference_steps, shift, latents_BCFHW.device)
        for time in scheduler.timesteps:
            predicted = velocity(latents_BCFHW, time).float()
            latents_BCFHW = scheduler.step(predicted, time, latents_BCFHW, return_dict=False)[0]
            counter.advance()
        return latents_BCFHW

    def finish(
        self,
        frames_THWC: np.ndarray,
        fps: Fraction,
        output_type: str,
        audio: np.ndarray | None = None,
        sample_rate: int = 0,
    ) -> V3Output:
        """Frames as asked for; offloaded components go back to their place."""
        self.maybe_free_model_hooks()
        frames: Any = frames_THWC[None]
        if output_type == "pil":
            frames = [[Image.fromarray(frame) for frame in frames_THWC]]
        return V3Output(frames, fps, audio, sample_rate)

    def finish_latents(self, latents_BCFHW: Tensor, fps: int) -> V3Output:
        self.maybe_free_model_hooks()
        return V3Output(latents_BCFHW.cpu(), Fraction(fps))
