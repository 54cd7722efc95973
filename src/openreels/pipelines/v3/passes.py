"""The passes of an avatar: key frames, then one overlapping segment after the other.

Legend: B batch (always 1), C channels, F latent frames, T frames, H W pixels, Y X latent rows and columns, L text
tokens, D width, S passes, M masks; of sound: P speakers, V video frames, Y layers, C width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from openreels.codecs.wan import WanVideoCodec
from openreels.encoders.clip_image import ClipImageEncoder
from openreels.flow.unipc import euler_times
from openreels.models.wan import SkyReelsV3Transformer
from openreels.models.wan_audio import audio_windows
from openreels.pipelines.v3.base import Steps
from openreels.pipelines.v3.colour import match_each_frame
from openreels.pipelines.v3.images import to_uint8
from openreels.pipelines.v3.plans import AvatarPlan, latents_of
from openreels.pipelines.v3.work import WorkFolder, fingerprint, remembered, weight_sample

__all__ = ["AvatarGuidance", "AvatarPasses", "OnSegment"]

KEY_REPEATS = 5  # an end key frame stands still for as many frames
CHANNELS = 16  # of latents
OnSegment = Callable[[int, int, np.ndarray], None]


@dataclass(frozen=True)
class AvatarGuidance:
    """Away from the negative prompt by `text`, away from silence by `audio`; in as few evaluations as it takes.

    Both: v_neither + text * (v - v_negative) + audio * (v_negative - v_neither), where v_negative hears the sound and
    v_neither does not. A scale of 1 is off; in official mode one below 1 as well.
    """

    text: float
    audio: float
    official: bool = False

    @property
    def by_text(self) -> bool:
        return self.text > 1 if self.official else self.text != 1

    @property
    def by_audio(self) -> bool:
        return self.audio > 1 if self.official else self.audio != 1

    def __call__(
        self, velocity: Callable[[Tensor, Tensor], Tensor], text: Tensor, negative: Tensor | None, sound: Tensor
    ) -> Tensor:
        """velocity: of a text and a sound. Silence is a sound of zeros."""
        full = velocity(text, sound)
        if self.by_text and self.by_audio:
            negative_heard, neither = velocity(negative, sound), velocity(negative, torch.zeros_like(sound))
            return neither + self.text * (full - negative_heard) + self.audio * (negative_heard - neither)
        if self.by_text:
            base, scale = velocity(negative, sound), self.text
        elif self.by_audio:
            base, scale = velocity(text, torch.zeros_like(sound)), self.audio
        else:
            return full
        return base + scale * (full - base)


@dataclass
class AvatarPasses:
    """Everything that decides how the passes of one avatar come out, and the drawing of them.

    portrait_BCTHW: (1, 3, 1, H, W) in [-1, 1]. text, segment, negative: (1, L, D), for key-frame passes, for all
    others, and for guidance. features_PVYC: speech features, one row per video frame of all segments. masks_MYX: where
    the speakers are, on the latent grid; None for one. truncate: round frames down, as the release does.
    """

    transformer: SkyReelsV3Transformer
    codec: WanVideoCodec
    image_encoder: ClipImageEncoder
    plan: AvatarPlan
    portrait_BCTHW: Tensor
    text_BLD: Tensor
    segment_BLD: Tensor
    negative_BLD: Tensor | None
    features_PVYC: Tensor
    masks_MYX: Tensor | None
    guidance: AvatarGuidance
    num_inference_steps: int
    shift: float
    generator: torch.Generator
    truncate: bool

    def fingerprint(self) -> str:
        """Of all of the above, before anything is drawn."""
        return fingerprint(
            (
                sorted((k, v) for k, v in self.transformer.config.items() if not k.startswith("_")),
                weight_sample(self.transformer),
                weight_sample(self.codec.vae),
                weight_sample(self.image_encoder.model),
                self.transformer.dtype,
                self.plan,
                self.portrait_BCTHW,
                self.text_BLD,
                self.segment_BLD,
                self.negative_BLD,
                self.features_PVYC,
                self.masks_MYX,
                self.guidance,
                self.num_inference_steps,
                self.shift,
                self.generator.get_state(),
                self.truncate,
            )
        )

    def draw(
        self, counter: Steps, work: WorkFolder | None, on_segment: OnSegment | None, decode_all: bool
    ) -> tuple[Tensor, list[np.ndarray]]:
        """(latents of all passes in the order drawn (S, C, F, Y, X) on the CPU, frames (T, H, W, 3) uint8 of the whole
        video in parts).

        decode_all: without it, what need not be decoded for the passes to go on is not, and there are no frames.
        """
        segments = self.plan.segments
        latents, parts, index = [], [], 0
        given_BCTHW = self.portrait_BCTHW
        for chapter, (start, ends) in enumerate(self.plan.chapters):
            pass_ = partial(self.one_pass, self.portrait_BCTHW, None, start, self.text_BLD, False, counter)
            latents_BCFYX = self.remembered(work, f"key-{chapter:02}", pass_, counter)
            latents.append(latents_BCFYX.cpu())
            if self.plan.single:
                if decode_all:
                    parts.append(self.part(self.decoded(latents_BCFYX)[:, :, : segments.frames], 0, 1, on_segment))
                break
            keys_BCTHW = self.decoded(latents_BCFYX)[:, :, ends]  # a copy, as `ends` is a list
            for end_BCTHW in keys_BCTHW.split(1, dim=2):
                pass_ = partial(
                    self.one_pass, given_BCTHW, end_BCTHW, segments.span(index)[0], self.segment_BLD, index > 0, counter
                )
                latents_BCFYX = self.remembered(work, f"segment-{index:03}", pass_, counter)
                latents.append(latents_BCFYX.cpu())
                if decode_all or index < segments.count - 1:
                    decoded_BCTHW = self.decoded(latents_BCFYX)
                    # No view: all decoded frames are to be gone from the device when the next pass is drawn.
                    given_BCTHW = decoded_BCTHW[:, :, segments.stride : segments.stride + segments.motion].clone()
                    first, last = segments.kept(index)
                    if decode_all:
                        parts.append(self.part(decoded_BCTHW[:, :, first:last], index, segments.count, on_segment))
                    del decoded_BCTHW
                index += 1
        return torch.cat(latents), parts

    def remembered(self, work: WorkFolder | None, name: str, one_pass: Callable[[], Tensor], counter: Steps) -> Tensor:
        """Latents of a pass, drawn or out of the work folder."""
        skip = partial(counter.advance, self.num_inference_steps)
        return remembered(work, name, self.generator, one_pass, skip).to(self.portrait_BCTHW.device)

    def decoded(self, latents_BCFYX: Tensor) -> Tensor:
        """(1, 3, T, H, W) in [-1, 1] in the portrait's colours."""
        return match_each_frame(self.codec.decode(latents_BCFYX), self.portrait_BCTHW)

    def part(self, pixels_BCTHW: Tensor, index: int, count: int, on_segment: OnSegment | None) -> np.ndarray:
        frames_THWC = to_uint8(pixels_BCTHW, self.truncate)[0]
        if on_segment is not None:
            on_segment(index, count, frames_THWC)
        return frames_THWC

    # -- one pass -----------------------------------------------------------------------------------------------------

    def one_pass(
        self,
        given_BCTHW: Tensor,
        end_BCTHW: Tensor | None,
        first_frame: int,
        text_BLD: Tensor,
        hold_motion: bool,
        counter: Steps,
    ) -> Tensor:
        """Latents (1, 16, F, Y, X) of one window.

        given: the frames that it begins with. end: the key frame that it ends on. first_frame: of the sound.
        hold_motion: the given frames take their own way from noise to data, in place of what the network makes of them.
        """
        window = self.plan.segments.window
        condition_BCFYX = self.condition(given_BCTHW, end_BCTHW)
        image_BID = self.image_encoder(given_BCTHW[:, :, 0])
        sound = audio_windows(self.features_PVYC, self.transformer.config.audio_window, first_frame, window)
        sound = sound[None].to(given_BCTHW.device)
        masks_MYX = None if self.masks_MYX is None else self.masks_MYX.to(given_BCTHW.device)
        known_BCFYX = condition_BCFYX[:, -CHANNELS:, : latents_of(given_BCTHW.shape[2])]

        latents_BCFYX = self.noise((1, CHANNELS, *condition_BCFYX.shape[2:]), given_BCTHW.device)
        times = euler_times(self.num_inference_steps, self.shift)
        if hold_motion:
            latents_BCFYX = self.held(latents_BCFYX, known_BCFYX, times[0])
        for time, next_time in pairwise(times):

            def velocity(text_BLD: Tensor, sound: Tensor, latents=latents_BCFYX, time=time) -> Tensor:
                return self.transformer(
                    torch.cat([latents, condition_BCFYX], dim=1),
                    time.expand(1).to(latents.device),
                    text_BLD,
                    encoder_hidden_states_image=image_BID,
                    audio_hidden_states=sound,
                    speaker_masks=masks_MYX,
                ).sample

            predicted = self.guidance(velocity, text_BLD, self.negative_BLD, sound).float()
            latents_BCFYX = latents_BCFYX - predicted * ((time - next_time) / 1000)
            if hold_motion:
                latents_BCFYX = self.held(latents_BCFYX, known_BCFYX, next_time)
            counter.advance()
        return latents_BCFYX

    def condition(self, given_BCTHW: Tensor, end_BCTHW: Tensor | None) -> Tensor:
        """(1, 4 + 16, F, Y, X): which frames are given, and the latents of them on mid grey."""
        window, given = self.plan.segments.window, given_BCTHW.shape[2]
        known_T = torch.zeros(window)
        known_T[:given] = 1
        pixels_BCTHW = given_BCTHW.new_zeros(*given_BCTHW.shape[:2], window, *given_BCTHW.shape[3:])
        pixels_BCTHW[:, :, :given] = given_BCTHW
        if end_BCTHW is not None:
            known_T[-KEY_REPEATS:] = 1
            pixels_BCTHW[:, :, -KEY_REPEATS:] = end_BCTHW
        latents_BCFYX = self.codec.encode(pixels_BCTHW)
        # Four flags per latent frame, one per frame that it holds; the first latent holds one frame, four times.
        flags_CF = torch.cat([known_T[:1].repeat(4), known_T[1:]]).view(-1, 4).T
        mask_BCFYX = flags_CF[None, :, :, None, None].expand(1, -1, -1, *latents_BCFYX.shape[3:])
        return torch.cat([mask_BCFYX.to(latents_BCFYX), latents_BCFYX], dim=1)

    def held(self, latents_BCFYX: Tensor, known_BCFYX: Tensor, time: Tensor) -> Tensor:
        """The first latents replaced by known ones, at this time's level of fresh noise; drawn at level 0 as well."""
        level = (time / 1000).to(known_BCFYX.device)
        noisy = (1 - level) * known_BCFYX + level * self.noise(known_BCFYX.shape, known_BCFYX.device)
        return torch.cat([noisy, latents_BCFYX[:, :, known_BCFYX.shape[2] :]], dim=2)

    def noise(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        drawn = torch.randn(shape, generator=self.generator, device=self.generator.device, dtype=torch.float32)
        return drawn.to(device)
