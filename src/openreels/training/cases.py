"""Cases of the task table as latents: what is handed over and the true result, encoded by the code that sampling uses.

Legend: B batch, N video tokens, A audio tokens, C channels, R reference tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from openreels.codecs.audio import AudioCodec
from openreels.codecs.video import VideoCodec
from openreels.tasks.given import Given, states
from openreels.tasks.sound import before, silenced
from openreels.types import AudioShape, StreamState, VideoShape
from openreels.world.examples import Example, Shown

__all__ = ["CONDITIONS", "encoded", "given_of", "with_conditions"]

CONDITIONS = ("given_BNC", "mask_BN1", "reference_BRC")
"""Fields of a state that say what is given, one row for each case."""
POSITIONS = "reference_positions_RP"


def given_of(example: Example, shown: Shown) -> Given:
    """What a user would hand over in this case, as a request for it becomes (`tasks`)."""
    clips = [x for x, reference in zip(shown.references, example.references, strict=True) if reference.kind != "audio"]
    sounds = [x for x, reference in zip(shown.references, example.references, strict=True) if reference.kind == "audio"]
    if example.source is not None and example.region is None:
        clips.append(shown.source_frames)  # last, so that its latent frames stand nearest to those that replace them
    if example.row.startswith("extension"):
        (_, end), *_ = example.kept
        sounds.append(torch.from_numpy(before(shown.audio[None].numpy(), shown.sample_rate, end)[0]))
    if example.row == "retake":
        (_, start), (end, _) = example.kept
        sounds.append(torch.from_numpy(silenced(shown.audio[None].numpy(), shown.sample_rate, (start, end))[0]))
    kept = bool(example.kept) or example.region is not None
    return Given(
        frames_THWC=shown.frames if kept else None,
        keep_THW=shown.keep if kept else None,
        pictures=tuple(clips),
        sounds=tuple(sounds),
        source_THWC=shown.source_frames,
    )


def encoded(
    examples: Sequence[Example],
    shown: Sequence[Shown],
    video_codec: VideoCodec,
    audio_codec: AudioCodec,
    video_shape: VideoShape,
    audio_shape: AudioShape,
) -> dict[str, Tensor]:
    """Cases of one row: "video" (B, N, C) and "audio" (B, A, C) of the true results, as far as the row has them, and
    what is given of either: "video.given_BNC", "audio.reference_BRC" ... (`CONDITIONS`), where something is."""
    given = [given_of(*pair) for pair in zip(examples, shown, strict=True)]
    blanks = dict(
        zip(("video", "audio"), states(given, video_codec, audio_codec, video_shape, audio_shape), strict=True)
    )
    tensors = {}
    if shown[0].frames is not None:
        tensors["video"] = video_codec.encode(torch.stack([each.frames for each in shown]))
    if shown[0].audio is not None:
        tensors["audio"] = audio_codec.encode(torch.stack([each.audio for each in shown]))
    for stream in list(tensors):
        state = blanks[stream]
        if state.mask_BN1.any():
            tensors |= {f"{stream}.{name}": getattr(state, name) for name in ("given_BNC", "mask_BN1")}
        if state.references:
            tensors[f"{stream}.reference_BRC"] = state.reference_BRC
            tensors[f"{stream}.{POSITIONS}"] = state.reference_positions_RP
    return tensors


def with_conditions(
    blank: StreamState, stream: str, tensors: Mapping[str, Tensor], index: Tensor, references: bool = True
) -> StreamState:
    """A blank state of "video" or "audio" with what is given in the cases `index` of `encoded`.

    references: False leaves those out.
    """
    wanted = CONDITIONS if references else CONDITIONS[:-1]
    found = {name: tensors[f"{stream}.{name}"][index].float() for name in wanted if f"{stream}.{name}" in tensors}
    if "reference_BRC" in found:
        found[POSITIONS] = tensors[f"{stream}.{POSITIONS}"]
    return replace(blank, **found)
