"""From the clips of a data set to cached latents, by the codecs and the text encoder of the model to be trained.

Each clip is brought onto the model's canvas as a request's media are: its nearest aspect, its frame rate, its sample
rate. Of its frames the first 4k + 1 are taken, at most as many as the longest clip of the model has.

Legend: T frames, K channels of sound, N A R video, audio, reference tokens, L text tokens, C D widths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from openreels.codecs.audio import AudioCodec
from openreels.codecs.video import VideoCodec
from openreels.encoders.multimodal import MultimodalEncoder
from openreels.encoders.prompt import PromptParts
from openreels.encoders.text import TextEncoder
from openreels.media import Clip
from openreels.media.audio import fit_length
from openreels.media.timing import decoded_frames, exact, latent_frames, nearest, samples_for
from openreels.tasks.canvas import Canvas
from openreels.tasks.fitting import nearest_aspect
from openreels.tasks.sound import heard
from openreels.tasks.window import Model
from openreels.tasks.wording import kind_of, own_tags, perceived, renamed
from openreels.training.sharded.cached import LatentWriter
from openreels.training.sharded.listing import Listed

__all__ = ["ClipEncoder", "encode_clips"]

CLIPS_PER_SHARD = 64  # what a power failure costs at most


@dataclass(frozen=True)
class ClipEncoder:
    """Latents of single clips, as `LatentWriter.add` takes them.

    model: whose canvas they are brought onto. resolution: one of its own; None: its usual one. device: where codecs and
    text encoder compute.
    """

    model: Model
    video: VideoCodec
    audio: AudioCodec
    text: TextEncoder | MultimodalEncoder
    resolution: str | None = None
    device: torch.device | str = "cpu"

    def __call__(self, listed: Listed) -> dict[str, Any]:
        """Raises MediaError where a file cannot be decoded."""
        clip = trimmed(Clip.open(listed.path), listed.start, listed.end)
        references = {tag: Clip.open(path) for tag, path in listed.references.items()}
        found: dict[str, Any] = {"context_LD": self.context(listed.caption, references), "source": listed.name}
        if clip.frames is None:
            count = self._whole(nearest(exact(clip.duration) * self.model.fps))
            found["latent_frames"] = latent_frames(count, self.model.group)
        else:
            canvas = self._canvas(clip)
            frames = canvas.filled(clip)
            count = self._whole(len(frames))
            found["video_NC"], found["grid"] = self._seen(canvas, canvas.drawn(frames[:count]))
            shown = [self._seen(canvas, canvas.shown(each)[: self.model.longest]) for each in references.values()]
            found["references_NC"], found["reference_grids"] = [each for each, _ in shown], [grid for _, grid in shown]
        if clip.audio is not None and count > 1:
            samples = samples_for(count, self.model.fps, self.model.sample_rate)
            sound_KS = fit_length(heard(clip, self.model.sample_rate, self.model.channels), samples)
            sound = torch.from_numpy(sound_KS)
            found["audio_AC"] = self.audio.encode(sound if len(sound) == 1 else sound[None], device=self.device)[0]
        return found

    def context(self, caption: str, references: dict[str, Clip]) -> torch.Tensor:
        """(L, D) of a caption, in the words and with the pictures that generation shows the text encoder."""
        tags = dict(zip(references, own_tags([kind_of(clip) for clip in references.values()]), strict=True))
        prompt, media = renamed(caption, tags), {tags[name]: clip for name, clip in references.items()}
        if isinstance(self.text, MultimodalEncoder):
            prompt = PromptParts.of(*perceived(self.text, prompt, media))
        context = self.text.encode([prompt], self.device)
        return context.hidden_BLD[0, context.mask_BL[0]]

    def _canvas(self, clip: Clip) -> Canvas:
        aspect = nearest_aspect(*clip.frames.shape[1:3], self.model.capabilities.aspects)
        return self.model.canvas(aspect, self.resolution)

    def _whole(self, frames: int) -> int:
        """The most that so many frames hold of whole latent frames, of a clip that the model can make."""
        most = min(max(frames, 1), self.model.longest)
        return decoded_frames((most - 1) // self.model.group + 1, self.model.group)

    def _seen(self, canvas: Canvas, frames_THWC: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int, int]]:
        shape = self.video.shape(len(frames_THWC), *canvas.size, canvas.fps)
        latents_NC = self.video.encode(frames_THWC[None], device=self.device)[0]
        return latents_NC, (shape.latent_frames, shape.latent_height, shape.latent_width)


def trimmed(clip: Clip, start: float, end: float | None) -> Clip:
    """From `start` to `end`, seconds; a still stays as it is."""
    if (not start and end is None) or clip.is_still:
        return clip
    first, last = exact(start), Fraction(10**9) if end is None else exact(end)
    frames = audio = None
    if clip.frames is not None:
        frames = clip.frames[nearest(first * clip.fps) : max(nearest(last * clip.fps), nearest(first * clip.fps) + 1)]
    if clip.audio is not None:
        audio = clip.audio[:, nearest(first * clip.sample_rate) : nearest(last * clip.sample_rate)]
        audio = audio if audio.size else None
    return replace(clip, frames=frames, audio=audio)


def encode_clips(
    clips: Sequence[Listed],
    encoder: ClipEncoder,
    folder: Path,
    made_by: str,
    progress: Callable[[int, int], None] | None = None,
) -> LatentWriter:
    """All of a data set, into a folder for `CachedData`. What the folder holds already is not encoded again, so the
    same call goes on after an interruption, and follows a list that has grown or changed.

    made_by: what decides the latents besides the clips: weights, resolution. progress: called with (clips done, all).
    Raises ValueError where the folder is of something else, MediaError where a file cannot be decoded; what was encoded
    until then is written.
    """
    writer = LatentWriter(folder, encoder.context("", {}), CLIPS_PER_SHARD, made_by)
    writer.keep({clip.name for clip in clips})
    known = {entry.source for entry in writer.entries}
    try:
        for done, clip in enumerate(clips, 1):
            if clip.name not in known:
                writer.add(**encoder(clip))
            if progress is not None:
                progress(done, len(clips))
    finally:
        writer.close()
    return writer
