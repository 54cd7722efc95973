"""What is given of a clip, in pixels and samples on the model's canvas; and the states that follow from it.

Legend: B batch, T frames, H W pixels, K channels, S samples, N tokens, C latent channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from openreels.codecs.audio import AudioCodec
from openreels.codecs.video import VideoCodec
from openreels.tasks.conditions import audio_references, kept_latents, video_references, with_kept, with_references
from openreels.tasks.states import audio_state, video_state
from openreels.types import AudioShape, StreamState, VideoShape

__all__ = ["Given", "composited", "states"]


@dataclass(frozen=True, eq=False)
class Given:
    """Nothing, or what of one clip is given.

    frames_THWC: uint8 (T, H, W, 3) with keep_THW, bool: True where a pixel of the result is known.
    pictures: references in context, uint8 (T, H, W, 3) each, T = 1 or 4k + 1. sounds: the same in the audio tower,
    float32 (S,) each, or (K, S) of a model with more than one channel.
    source_THWC: the clip that is edited. The transformer sees what is kept of it, or all of it as the last of the
    pictures; a planner, where everything was.
    picture_THWC: all of the video, where only its sound is made. sound_S: all of the sound, which the picture follows.
    """

    frames_THWC: Tensor | None = None
    keep_THW: Tensor | None = None
    pictures: tuple[Tensor, ...] = ()
    sounds: tuple[Tensor, ...] = ()
    source_THWC: Tensor | None = None
    picture_THWC: Tensor | None = None
    sound_S: Tensor | None = None

    @property
    def is_painted(self) -> bool:
        """Whether a part of some frame is known, and the rest of it is not."""
        if self.keep_THW is None:
            return False
        kept = self.keep_THW.flatten(1)
        return not torch.equal(kept.any(1), kept.all(1))

    @property
    def signature(self) -> tuple:
        """What clips must share to be made side by side."""
        single = self.frames_THWC, self.source_THWC, self.picture_THWC, self.sound_S
        shapes = [None if x is None else tuple(x.shape) for x in single]
        return (*shapes, *(tuple(tuple(x.shape) for x in each) for each in (self.pictures, self.sounds)))


def states(
    given: Sequence[Given],
    video_codec: VideoCodec,
    audio_codec: AudioCodec,
    video_shape: VideoShape,
    audio_shape: AudioShape,
    device: torch.device | str | None = None,
) -> tuple[StreamState, StreamState]:
    """Video and audio states of a batch of clips, without noise. A stream that is given whole holds its latents at time
    1, exactly; all others are at time 0.

    given: one each, of one signature. device: where the codecs compute. Raises ValueError where they differ.
    """
    first = given[0]
    if any(each.signature != first.signature for each in given):
        raise ValueError("what is given must have the same shapes for all clips of a batch")
    batch = lambda name: torch.stack([getattr(each, name) for each in given])  # noqa: E731
    video = video_state(video_shape, len(given))
    audio = audio_state(audio_shape, video_shape.latent_frames, len(given))
    if first.frames_THWC is not None:
        video = with_kept(video, *kept_latents(video_codec, batch("frames_THWC"), batch("keep_THW"), device))
    if first.pictures:
        clips = [torch.stack(same) for same in zip(*(each.pictures for each in given), strict=True)]
        video = with_references(video, *video_references(video_codec, clips, device))
    if first.sounds:
        sounds = [torch.stack(same) for same in zip(*(each.sounds for each in given), strict=True)]
        latents = audio_references(audio_codec, sounds, audio_shape, video_shape.latent_frames, device)
        audio = with_references(audio, *latents)
    if first.picture_THWC is not None:
        video = _whole(video, video_codec.encode(batch("picture_THWC"), device=device))
    if first.sound_S is not None:
        audio = _whole(audio, audio_codec.encode(batch("sound_S"), device=device))
    return video, audio


def _whole(state: StreamState, latents_BNC: Tensor) -> StreamState:
    return replace(state, noisy_BNC=latents_BNC, time_B=torch.ones_like(state.time_B))


def composited(frames_BTHWC: Tensor, given: Sequence[Given]) -> Tensor:
    """Decoded frames with the kept pixels put back, exactly."""
    if given[0].picture_THWC is not None:
        return torch.stack([each.picture_THWC for each in given]).to(frames_BTHWC.device)
    if given[0].frames_THWC is None:
        return frames_BTHWC
    kept_BTHWC = torch.stack([each.frames_THWC for each in given]).to(frames_BTHWC.device)
    keep_BTHW1 = torch.stack([each.keep_THW for each in given])[..., None].to(frames_BTHWC.device)
    return torch.where(keep_BTHW1, kept_BTHWC, frames_BTHWC)
