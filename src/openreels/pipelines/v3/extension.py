"""Extension of a clip: the same shot goes on, or a new shot follows.

Legend: B batch (always 1), C channels, F latent frames, T frames, H W pixels, L text tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import chain
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
from openreels.pipelines.registry import NEW_SHOT
from openreels.pipelines.v3.base import Progress, Steps, V3Output, V3Pipeline
from openreels.pipelines.v3.colour import Anchor
from openreels.pipelines.v3.images import Canvas, filled, frame_pixels, frames_of, stretch, to_uint8
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
        `openreels.shots.choose_transition` makes of prompt and clip, and None for another length than 2 to 5 s.
        fps: of the result, by default the clip's own; the model draws 24, other rates show the frame nearest in time.
        join: the clip itself, with its sound, before the new part (default), or the new part alone.
        fit: how the clip comes to the model's size, "crop" or "pad" (nothing lost; the padding is cut off again).
        anchor_colours: hold colours over the passes of a long extension.
        work: a folder that keeps finished passes; the same call again goes on where an interrupted one was, and gives
        the same bits. Sizes, sampler, generator, official and progress: as in `SkyReelsV3ReferencePipeline`.
        Raises ValueError: one sentence on what is wrong, before anything is computed.
        """
        source = Source.of(video, None if video_fps is None else self.check_fps(video_fps))
        guidance = Guidance(guidance_scale, official)
        self.check_text(prompt, prompt_embeds, negative_prompt, negative_prompt_embeds, guidance.active)
        self.check_sampler(num_inference_steps, shift, guidance_scale)
        self.check_output_type(output_type)
        if transition == "auto":  # which cannot be a cut where no new shot is of this length
            short = NEW_SHOT[0] <= duration <= NEW_SHOT[1]
            transition = choose_transition(prompt or "", source.frames, source.fps).transition if short else None
        self._check_wishes(transition, join, fps, official)
        if fps is None:
            fps = FPS if official else source.fps
        plan = Plan.of(self.check_duration(duration), self.check_fps(fps), transition is not None, official)
        canvas = Canvas.of(source.size, pick_size(source.size, BUCKETS, resolution, aspect, height, width), aspect, fit)
        generator = self.generator_of(generator, seed)

        if prompt is not None and transition is not None:
            prompt = TRANSITIONS[transition] + prompt
        guidance = replace(guidance, text_BLD=self.encode_text(prompt, prompt_embeds))
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
            latents_BCFHW, parts = self._new_shot(given_BCTHW, plan, generator, draw, official, output_type)
        elif official:
            latents_BCFHW, parts = self._official_rolls(given_BCTHW, plan, generator, draw, output_type)
        else:
            anchor = Anchor() if anchor_colours else None
            latents_BCFHW, parts = self._rolls(given_BCTHW, plan, generator, draw, anchor, output_type)
        if output_type == "latent":
            return self.finish_latents(latents_BCFHW, FPS)
        if official:
            count = sum(map(len, parts))
            frames_THWC = filled(np.empty((count, *canvas.size, 3), np.uint8), frames_of(parts, range(count)))
            return self.finish(frames_THWC, plan.fps, output_type)
        new = frames_of(parts, drawn_frames(plan.shown, plan.fps), canvas)
        if join is False:
            frames_THWC = filled(np.empty((plan.shown, *canvas.box[2:], 3), np.uint8), new)
            return self.finish(frames_THWC, plan.fps, output_type)
        return self._joined(source, canvas, new, plan, output_type)

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
    ) -> tuple[Tensor, list[np.ndarray]]:
        """Pass after pass: fresh noise each, the last frames handed on as they are, colours held by the anchor.

        (latents of all passes on the CPU, new frames (T, H, W, 3) uint8 of each pass, none of them for latents).
        """
        latents, parts = [], []
        for index, count in enumerate(plan.passes):
            prefix_BCFHW = self.codec.encode(given_BCTHW)
            noise = partial(self.noise, count, *given_BCTHW.shape[3:], generator)
            latents_BCFHW = draw(index, self._continuation(prefix_BCFHW), noise)
            latents.append(latents_BCFHW.cpu())
            if output_type == "latent" and index == len(plan.passes) - 1:
                break
            new_THWC, given_BCTHW = self._continued(prefix_BCFHW, latents_BCFHW, given_BCTHW, anchor)
            parts += [] if output_type == "latent" else [new_THWC]
        return torch.cat(latents, dim=2), parts

    def _continued(
        self, prefix_BCFHW: Tensor, latents_BCFHW: Tensor, given_BCTHW: Tensor, anchor: Anchor | None
    ) -> tuple[np.ndarray, Tensor]:
        """(new frames of a pass (T, H, W, 3) uint8, the frames that the next one continues).

        A step of its own so that gigabytes of decoded frames are gone when the next pass is drawn: what is handed on
        is no view of them.
        """
        decoded_BCTHW = self.codec.decode(torch.cat([prefix_BCFHW, latents_BCFHW], dim=2))
        again_BCTHW, new_BCTHW = decoded_BCTHW.tensor_split([given_BCTHW.shape[2]], dim=2)
        if anchor is not None:
            new_BCTHW = anchor.hold(new_BCTHW, again_BCTHW, given_BCTHW)
        count = prefix_length(given_BCTHW.shape[2] + new_BCTHW.shape[2])
        last_BCTHW = torch.cat([given_BCTHW[:, :, -count:], new_BCTHW[:, :, -count:]], dim=2)[:, :, -count:]
        return to_uint8(new_BCTHW)[0], last_BCTHW.clone()

    def _official_rolls(
        self, given_BCTHW: Tensor, plan: Plan, generator: torch.Generator, draw: Draw, output_type: str
    ) -> tuple[Tensor, list[np.ndarray]]:
        """Pass after pass from the same seed; the last frames handed on through uint8, truncated. As `_rolls` gives."""
        latents, parts = [], []
        for index, count in enumerate(plan.passes):
            again = torch.Generator(generator.device).manual_seed(generator.initial_seed())
            prefix_BCFHW = self.codec.encode(given_BCTHW)
            noise = partial(self.noise, count, *given_BCTHW.shape[3:], again)
            latents_BCFHW = draw(index, self._continuation(prefix_BCFHW), noise)
            latents.append(latents_BCFHW.cpu())
            if output_type == "latent" and index == len(plan.passes) - 1:
                break
            both_BCFHW = torch.cat([prefix_BCFHW, latents_BCFHW], dim=2)
            decoded_THWC = to_uint8(self.codec.decode(both_BCFHW), truncate=True)[0]
            parts += [] if output_type == "latent" else [decoded_THWC[given_BCTHW.shape[2] :]]
            given_BCTHW = frame_pixels(decoded_THWC[-PREFIX_FRAMES:]).to(given_BCTHW.device)
        return torch.cat(latents, dim=2), parts

    def _new_shot(
        self,
        given_BCTHW: Tensor,
        plan: Plan,
        generator: torch.Generator,
        draw: Draw,
        official: bool,
        output_type: str,
    ) -> tuple[Tensor, list[np.ndarray]]:
        """One pass: the context stands behind the noisy frames, at time 0 and far away in position. As `_rolls`."""
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
            return latents_BCFHW, []
        return latents_BCFHW, [to_uint8(self.codec.decode(latents_BCFHW), truncate=official)[0]]

    # -- the result ---------------------------------------------------------------------------------------------------

    def _joined(
        self, source: Source, canvas: Canvas, new: Iterable[np.ndarray], plan: Plan, output_type: str
    ) -> V3Output:
        """The clip, its sound, then the new frames (H, W, 3), in silence."""
        count, fps = len(source.frames), plan.fps
        kept = frames_for(count / source.fps, fps)
        picks = shown_frames(kept, fps, count, source.fps)
        old = (canvas.cut(canvas.fitted(source.frames[pick : pick + 1]))[0] for pick in picks)
        frames_THWC = filled(np.empty((kept + plan.shown, *canvas.box[2:], 3), np.uint8), chain(old, new))
        audio = source.audio
        if audio is not None:
            audio = fit_length(audio, samples_for(count, source.fps, source.sample_rate))
            audio = fit_length(audio, samples_for(len(frames_THWC), fps, source.sample_rate))
        return self.finish(frames_THWC, fps, output_type, audio, source.sample_rate)


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
    text_BLD: Tensor | None = None
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
