"""Extension of a clip: the same shot goes on, or a new shot follows.

Legend: B batch (always 1), C channels, F latent frames, T frames, H W pixels, L text tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from openreels.media import Clip
from openreels.media.audio import fit_length
from openreels.media.timing import frames_for, samples_for
from openreels.models.wan import SkyReelsV3Transformer
from openreels.pipelines.v3.base import Progress, Steps, V3Output, V3Pipeline
from openreels.pipelines.v3.colour import Anchor
from openreels.pipelines.v3.images import Canvas, frame_pixels, stretch, to_uint8
from openreels.pipelines.v3.plans import (
    FPS,
    PREFIX_FRAMES,
    context_frames,
    drawn_frames,
    even_rolls,
    frames_to_draw,
    latents_of,
    official_rolls,
    prefix_length,
    prefix_picks,
    shot_seconds,
    shown_frames,
)
from openreels.pipelines.v3.sizes import BUCKETS, Size, pick_size
from openreels.pipelines.v3.work import WorkFolder, fingerprint, remembered, weight_sample
from openreels.request import RequestError
from openreels.shots.transition import choose_transition

__all__ = ["TRANSITIONS", "SkyReelsV3ExtensionPipeline"]

# What opens the prompt of a new shot. The first two are the release's own tokens. Of the other three it names the kinds
# of cut in prose only, and spellings found elsewhere contradict one another, so they are said in words.
TRANSITIONS = {
    "none": "",  # a new shot as the prompt itself describes it
    "cut-in": "[ZOOM_IN_CUT] ",
    "cut-out": "[ZOOM_OUT_CUT] ",
    "multi-angle": "Multi-angle cut to another view of the same scene. ",
    "shot-reverse-shot": "Shot/reverse shot: cut to the opposite side of the scene. ",
    "cut-away": "Cut away to another subject. ",
}
CONTEXT_POSITION = 1024  # where in time the shot network looks for what came before


@dataclass(frozen=True)
class Source:
    """The clip to extend: frames (T, H, W, 3) uint8, its exact rate, its sound (C, N) float32 or None."""

    frames: np.ndarray
    fps: Fraction
    audio: np.ndarray | None = None
    sample_rate: int = 0

    @property
    def size(self) -> Size:
        return self.frames.shape[1:3]

    @classmethod
    def of(cls, given: Clip | np.ndarray | str | Path, fps: Fraction | None) -> Source:
        """From a clip, a file, or frames with their rate. Raises ValueError: one sentence."""
        if isinstance(given, str | Path):
            given = Clip.open(given)
        if isinstance(given, Clip):
            if given.frames is None:
                raise RequestError("video must have frames, and this clip is a sound alone")
            # A still picture has no rate of its own: 1 fps is only how a clip says so.
            rate = given.fps if len(given.frames) > 1 else Fraction(FPS)
            return cls(given.frames, fps or rate, given.audio, given.sample_rate)
        if not isinstance(given, np.ndarray) or given.dtype != np.uint8 or given.ndim != 4 or given.shape[3] != 3:
            raise RequestError("video must be a clip, a file or frames (T, H, W, 3) uint8")
        if 0 in given.shape:
            raise RequestError("video must have at least one frame")
        return cls(given, fps or Fraction(FPS))


class SkyReelsV3ExtensionPipeline(V3Pipeline):
    """SkyReels-V3-V2V: two networks of one class.

    transformer: continues a shot; shot_transformer: switches to a new one. Either may be None where it is not used.
    Source of the official mode: shared/spec/v3.md, section 5.
    """

    model_cpu_offload_seq = "text_encoder->transformer->shot_transformer->vae"
    _optional_components: ClassVar[list[str]] = ["transformer", "shot_transformer", "text_encoder", "tokenizer"]

    def __init__(
        self,
        vae: AutoencoderKLWan,
        transformer: SkyReelsV3Transformer | None = None,
        shot_transformer: SkyReelsV3Transformer | None = None,
        text_encoder: UMT5EncoderModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ):
        super().__init__()
        self.register_modules(
            transformer=transformer,
            shot_transformer=shot_transformer,
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
        )

    @torch.no_grad()
    def __call__(
        self,
        video: Clip | np.ndarray | str | Path,
        prompt: str | None = None,
        *,
        duration: float = 5,
        transition: str | None = None,
        video_fps: Fraction | float | None = None,
        fps: Fraction | float | None = None,
        join: bool | None = None,
        fit: str = "crop",
        anchor_colours: bool = True,
        prompt_embeds: Tensor | None = None,
        negative_prompt: str | None = None,
        negative_prompt_embeds: Tensor | None = None,
        resolution: str = "720P",
        aspect: str | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 8,
        guidance_scale: float = 1.0,
        shift: float = 8.0,
        work: Path | str | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
        official: bool = False,
        output_type: str = "np",
        progress: Progress | None = None,
    ) -> V3Output:
        """Extend a clip by `duration` seconds.

        video: a clip, a file, or frames (T, H, W, 3) uint8 at `video_fps` (24 where not said). prompt or prompt_embeds
        (1, L, D). transition: None continues the shot; a key of `TRANSITIONS` cuts to a new one of 2 to 5 s ("none":
        as the prompt describes it; with prompt_embeds the key only chooses the network); "auto" is what
        `openreels.shots.choose_transition` makes of prompt and clip.
        fps: of the result, by default the clip's own; the model draws 24, other rates show the frame nearest in time.
        join: the clip itself, with its sound, before the new part (default), or the new part alone.
        fit: how the clip comes to the model's size, "crop" or "pad" (nothing lost; the padding is cut off again).
        anchor_colours: hold colours over the passes of a long extension.
        work: a folder that keeps finished passes; the same call again goes on where an interrupted one was, and gives
        the same bits. Sizes, sampler, generator, official and progress: as in `SkyReelsV3ReferencePipeline`.
        Raises ValueError: one sentence on what is wrong, before anything is computed.
        """
        source = Source.of(video, None if video_fps is None else self.check_fps(video_fps))
        self.check_text(prompt, prompt_embeds, negative_prompt, negative_prompt_embeds)
        self.check_sampler(num_inference_steps, shift, guidance_scale)
        self.check_output_type(output_type)
        if transition == "auto":
            transition = choose_transition(prompt or "", source.frames, source.fps).transition
        self._check_wishes(transition, join, fps, official)
        if fps is None:
            fps = FPS if official else source.fps
        plan = Plan.of(self.check_duration(duration), self.check_fps(fps), transition is not None, official)
        canvas = Canvas.of(source.size, pick_size(source.size, BUCKETS, resolution, aspect, height, width), aspect, fit)
        generator = self.generator_of(generator, seed)

        if prompt is not None and transition is not None:
            prompt = TRANSITIONS[transition] + prompt
        guidance = Guidance(guidance_scale, official, self.encode_text(prompt, prompt_embeds))
        if guidance.active:
            guidance = replace(guidance, negative_BLD=self.encode_text(negative_prompt or "", negative_prompt_embeds))
        given_BCTHW = frame_pixels(self._given(source, plan.context, canvas, official)).to(self._execution_device)
        counter = Steps(progress, num_inference_steps * len(plan.passes))
        folder = None
        if work is not None:
            network = self.transformer if transition is None else self.shot_transformer
            decisive = (guidance, num_inference_steps, shift, anchor_colours, official, generator.get_state())
            folder = WorkFolder(work, self._fingerprint(network, given_BCTHW, plan, *decisive))

        def draw(index: int, velocity: Velocity, noise: Callable[[], Tensor]) -> Tensor:
            def one_pass() -> Tensor:
                return self.sample(noise(), guidance.over(velocity), num_inference_steps, shift, counter)

            skip = partial(counter.advance, num_inference_steps)
            latents_BCFHW = remembered(folder, f"pass-{index:03}", generator, one_pass, skip)
            return latents_BCFHW.to(given_BCTHW.device)

        if transition is not None:
            latents_BCFHW, new_THWC = self._new_shot(given_BCTHW, plan, generator, draw, official, output_type)
        elif official:
            latents_BCFHW, new_THWC = self._official_rolls(given_BCTHW, plan, generator, draw, output_type)
        else:
            anchor = Anchor() if anchor_colours else None
            latents_BCFHW, new_THWC = self._rolls(given_BCTHW, plan, generator, draw, anchor, output_type)
        if output_type == "latent":
            return self.finish_latents(latents_BCFHW, FPS)
        if official:
            return self.finish(new_THWC, plan.fps, output_type)
        new_THWC = canvas.cut(new_THWC[drawn_frames(plan.shown, plan.fps)])
        if join is False:
            return self.finish(new_THWC, plan.fps, output_type)
        return self._joined(source, canvas, new_THWC, plan.fps, output_type)

    # -- what is asked ------------------------------------------------------------------------------------------------

    def _check_wishes(
        self,
        transition: str | None,
        join: bool | None,
        fps: Fraction | float | None,
        official: bool,
    ) -> None:
        if transition is not None and transition not in TRANSITIONS:
            raise RequestError(f"transition must be one of {', '.join(TRANSITIONS)}, auto, or None, not {transition!r}")
        if official and (join or fps not in (None, FPS)):
            raise RequestError(f"official mode returns the new part alone, at {FPS} fps")
        network, name = (
            (self.transformer, "transformer") if transition is None else (self.shot_transformer, "shot_transformer")
        )
        if network is None:
            raise RequestError(f"this pipeline was loaded without its {name}, which this extension needs")

    def _given(self, source: Source, context: int, canvas: Canvas, official: bool) -> np.ndarray:
        """(T, H, W, 3) uint8: the end of the clip as the model sees it, T = 4n + 1 and at most `context`."""
        if official:
            return stretch(source.frames[-prefix_length(len(source.frames), context) :], *canvas.size)
        picks = prefix_picks(len(source.frames), source.fps, context)
        return canvas.fitted(source.frames[picks])

    def _fingerprint(
        self,
        network: SkyReelsV3Transformer,
        given_BCTHW: Tensor,
        plan: Plan,
        guidance: Guidance,
        *decisive: object,
    ) -> str:
        """Of all that decides the result, before anything is drawn."""
        return fingerprint(
            (
                sorted((k, v) for k, v in network.config.items() if not k.startswith("_")),
                weight_sample(network),
                weight_sample(self.vae),
                network.dtype,
                given_BCTHW,
                plan,
                guidance.scale,
                guidance.text_BLD,
                guidance.negative_BLD,
                *decisive,
            )
        )

    # -- drawing ------------------------------------------------------------------------------------------------------

    def _continuation(self, prefix_BCFHW: Tensor) -> Velocity:
        """The clean prefix stands before the noisy frames, at time 0, in every step."""
        clean = prefix_BCFHW.shape[2]

        def velocity(latents_BCFHW: Tensor, time: Tensor, text_BLD: Tensor) -> Tensor:
            states_BCFHW = torch.cat([prefix_BCFHW, latents_BCFHW], dim=2)
            times_BF = time.expand(1, states_BCFHW.shape[2]).clone()
            times_BF[:, :clean] = 0
            return self.transformer(states_BCFHW, times_BF, text_BLD).sample[:, :, clean:]

        return velocity

    def _rolls(
        self,
        given_BCTHW: Tensor,
        plan: Plan,
        generator: torch.Generator,
        draw: Draw,
        anchor: Anchor | None,
        output_type: str,
    ) -> tuple[Tensor, np.ndarray | None]:
        """Pass after pass: fresh noise each, the last frames handed on as they are, colours held by the anchor."""
        latents, frames = [], []
        for index, count in enumerate(plan.passes):
            prefix_BCFHW = self.codec.encode(given_BCTHW)
            noise = partial(self.noise, count, *given_BCTHW.shape[3:], generator)
            latents.append(draw(index, self._continuation(prefix_BCFHW), noise))
            if output_type == "latent" and index == len(plan.passes) - 1:
                break
            decoded_BCTHW = self.codec.decode(torch.cat([prefix_BCFHW, latents[-1]], dim=2))
            again_BCTHW, new_BCTHW = decoded_BCTHW.tensor_split([given_BCTHW.shape[2]], dim=2)
            if anchor is not None:
                new_BCTHW = anchor.hold(new_BCTHW, again_BCTHW, given_BCTHW)
            frames.append(to_uint8(new_BCTHW)[0])
            known_BCTHW = torch.cat([given_BCTHW, new_BCTHW], dim=2)
            given_BCTHW = known_BCTHW[:, :, -prefix_length(known_BCTHW.shape[2]) :]
        return torch.cat(latents, dim=2), None if output_type == "latent" else np.concatenate(frames)

    def _official_rolls(
        self, given_BCTHW: Tensor, plan: Plan, generator: torch.Generator, draw: Draw, output_type: str
    ) -> tuple[Tensor, np.ndarray | None]:
        """Pass after pass from the same seed; the last frames handed on through uint8, truncated."""
        latents, frames = [], []
        for index, count in enumerate(plan.passes):
            again = torch.Generator(generator.device).manual_seed(generator.initial_seed())
            prefix_BCFHW = self.codec.encode(given_BCTHW)
            noise = partial(self.noise, count, *given_BCTHW.shape[3:], again)
            latents.append(draw(index, self._continuation(prefix_BCFHW), noise))
            if output_type == "latent" and index == len(plan.passes) - 1:
                break
            decoded_BCTHW = self.codec.decode(torch.cat([prefix_BCFHW, latents[-1]], dim=2))
            decoded_THWC = to_uint8(decoded_BCTHW, truncate=True)[0]
            frames.append(decoded_THWC[given_BCTHW.shape[2] :])
            given_BCTHW = frame_pixels(decoded_THWC[-PREFIX_FRAMES:]).to(given_BCTHW.device)
        return torch.cat(latents, dim=2), None if output_type == "latent" else np.concatenate(frames)

    def _new_shot(
        self,
        given_BCTHW: Tensor,
        plan: Plan,
        generator: torch.Generator,
        draw: Draw,
        official: bool,
        output_type: str,
    ) -> tuple[Tensor, np.ndarray | None]:
        """One pass: the context stands behind the noisy frames, at time 0 and far away in position."""
        context_BCFHW = self.codec.encode(given_BCTHW)
        known, count = context_BCFHW.shape[2], plan.passes[0]
        positions_F = torch.cat([torch.arange(count), CONTEXT_POSITION + torch.arange(known)])

        def velocity(latents_BCFHW: Tensor, time: Tensor, text_BLD: Tensor) -> Tensor:
            states_BCFHW = torch.cat([latents_BCFHW, context_BCFHW], dim=2)
            times_BF = time.expand(1, count + known).clone()
            times_BF[:, count:] = 0
            made = self.shot_transformer(states_BCFHW, times_BF, text_BLD, frame_positions=positions_F)
            return made.sample[:, :, :count]

        latents_BCFHW = draw(0, velocity, partial(self.noise, count, *given_BCTHW.shape[3:], generator))
        if output_type == "latent":
            return latents_BCFHW, None
        return latents_BCFHW, to_uint8(self.codec.decode(latents_BCFHW), truncate=official)[0]

    # -- the result ---------------------------------------------------------------------------------------------------

    def _joined(
        self, source: Source, canvas: Canvas, new_THWC: np.ndarray, fps: Fraction, output_type: str
    ) -> V3Output:
        """The clip, its sound, then the new part, in silence."""
        count = len(source.frames)
        kept = frames_for(count / source.fps, fps)
        picks = shown_frames(kept, fps, count, source.fps)
        kept_THWC = canvas.cut(canvas.fitted(source.frames[picks]))
        audio = source.audio
        if audio is not None:
            audio = fit_length(audio, samples_for(count, source.fps, source.sample_rate))
            audio = fit_length(audio, samples_for(kept + len(new_THWC), fps, source.sample_rate))
        return self.finish(np.concatenate([kept_THWC, new_THWC]), fps, output_type, audio, source.sample_rate)


@dataclass(frozen=True)
class Plan:
    """passes: new latents of each. context: frames of the clip that the first one continues, where it has so many.
    shown: new frames of the result, at `fps`."""

    passes: list[int]
    context: int
    shown: int
    fps: Fraction

    @classmethod
    def of(cls, seconds: float, fps: Fraction, new_shot: bool, official: bool) -> Plan:
        """Raises ValueError where this cannot be drawn: in official mode all but whole seconds."""
        shown, drawn = frames_to_draw(seconds, fps)
        if new_shot:
            whole = shot_seconds(seconds)
            if official and whole != seconds:
                raise RequestError(f"official mode draws new shots of 2, 3, 4 or 5 seconds, not {seconds:g}")
            return cls([latents_of(FPS * whole + 1)], context_frames(whole), shown, fps)
        return cls(official_rolls(seconds) if official else even_rolls(drawn), PREFIX_FRAMES, shown, fps)


@dataclass(frozen=True)
class Guidance:
    """v_negative + scale * (v_prompt - v_negative); off at 1, in official mode below 1 as well."""

    scale: float
    official: bool
    text_BLD: Tensor
    negative_BLD: Tensor | None = None

    @property
    def active(self) -> bool:
        return self.scale > 1 if self.official else self.scale != 1

    def over(self, velocity: Velocity) -> Callable[[Tensor, Tensor], Tensor]:
        def guided(latents_BCFHW: Tensor, time: Tensor) -> Tensor:
            prompted = velocity(latents_BCFHW, time, self.text_BLD)
            if not self.active:
                return prompted
            negative = velocity(latents_BCFHW, time, self.negative_BLD)
            return negative + self.scale * (prompted - negative)

        return guided


Velocity = Callable[[Tensor, Tensor, Tensor], Tensor]  # latents, time, text -> velocity of the new latents
Draw = Callable[[int, Velocity, Callable[[], Tensor]], Tensor]  # number of the pass, velocity, noise -> latents
