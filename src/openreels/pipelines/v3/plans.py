"""How long videos are cut into passes: plain arithmetic, without tensors.

The Wan autoencoder holds 4n + 1 frames in n + 1 latent frames: the first frame has its own. A *prefix* is a stretch of
frames that a pass continues; as it comes first it is encoded the same way, while the latents that follow it hold
4 frames each. Source of the official plans: shared/spec/v3.md, sections 5.2, 5.3 and 6.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from math import ceil

from openreels.media.timing import exact, frames_for, nearest
from openreels.request import RequestError

__all__ = [
    "AVATAR_FPS",
    "AVATAR_FRAMES",
    "CONTEXT_FRAMES",
    "FPS",
    "PREFIX_FRAMES",
    "ROLL_LATENTS",
    "SLOTS",
    "AvatarPlan",
    "Segments",
    "context_frames",
    "drawn_frames",
    "even_rolls",
    "frames_to_draw",
    "key_frame_positions",
    "latents_of",
    "official_rolls",
    "prefix_length",
    "prefix_picks",
    "shot_seconds",
    "shown_frames",
    "spread",
    "turned_tail",
]

FPS = 24  # of references and extension
SLOTS = 4  # reference slots behind the video, whether used or not
PREFIX_FRAMES = 25  # what a single-shot pass continues: 7 latents
ROLL_LATENTS = 33  # new latents in the longest pass of the release: 40 with the prefix
CONTEXT_FRAMES = {2: 9, 3: 17, 4: 25, 5: 33}  # seconds of a new shot -> frames of the clip that it is cut from
GROUP = 4  # frames per latent
AVATAR_FPS = 25
AVATAR_FRAMES = 5000  # 200 s: the longest avatar


# -- extension, single shot -------------------------------------------------------------------------------------------


def official_rolls(seconds: int) -> list[int]:
    """New latents of each pass, as the official code plans them: passes of 5 s and a rest.

    6 latents a second, moved so that prefix and new latents together divide by 8; latents added are a credit that
    later passes may take away again. The result lasts longer than was asked: 5 s become 5.5 s. Raises ValueError.
    """
    if seconds != int(seconds) or seconds < 1:
        raise RequestError(f"official mode extends by a whole number of seconds from 1 up, not {seconds}")
    seconds = int(seconds)
    prefix, multiple, credit = latents_of(PREFIX_FRAMES), 8, 0
    rolls = []
    for length in [5] * (seconds // 5) + [seconds % 5] * (seconds % 5 > 0):
        latents = 6 * length
        rest = (latents + prefix) % multiple
        change = multiple - rest if rest > credit else -rest
        credit += change
        rolls.append(latents + change)
    return rolls


def even_rolls(frames: int, longest: int = ROLL_LATENTS) -> list[int]:
    """New latents of each pass for at least `frames` new frames: as few passes as can be, equal within one latent.

    Longer passes come first. No pass is a stub: the official plan ends 11 s with a pass of 4 frames.
    """
    latents = ceil(frames / GROUP)
    passes = ceil(latents / longest)
    short, longer = divmod(latents, passes)
    return [short + 1] * longer + [short] * (passes - longer)


def prefix_length(available: int, wanted: int = PREFIX_FRAMES) -> int:
    """Frames of a clip to continue: `wanted`, or of a shorter clip the most that encodes whole, 4n + 1."""
    return GROUP * ((min(available, wanted) - 1) // GROUP) + 1


def latents_of(frames: int) -> int:
    """Latents that hold `frames` frames from the start of a clip; frames beyond 4n + 1 are dropped."""
    return 1 + (frames - 1) // GROUP


# -- frame rates ------------------------------------------------------------------------------------------------------


def prefix_picks(frames: int, fps: Fraction, wanted: int = PREFIX_FRAMES) -> list[int]:
    """Which frames of a clip to continue: indices of those nearest to ticks of 1/24 s that end with its last frame.

    Ascending, at most `wanted`, and 4n + 1 of them.
    """
    ticks = 1 + int((frames - 1) / fps * FPS)  # whole ticks that fit between the first and the last frame
    count = prefix_length(ticks, wanted)
    last = frames - 1
    return [last - nearest(Fraction(back, FPS) * fps) for back in reversed(range(count))]


def drawn_frames(frames: int, fps: Fraction) -> list[int]:
    """Which new frames at 24 fps show at each of `frames` new frames at `fps`, counted from 0.

    The new part begins one tick after the clip's last frame, in either rate; each tick takes the nearest in time.
    """
    return [max(nearest(Fraction(tick + 1) / fps * FPS) - 1, 0) for tick in range(frames)]


def frames_to_draw(seconds: float, fps: Fraction) -> tuple[int, int]:
    """(new frames at `fps`, frames at 24 fps that the model must draw for them) for an extension by `seconds`."""
    frames = frames_for(seconds, fps)
    return frames, drawn_frames(frames, fps)[-1] + 1


def shown_frames(frames: int, fps: Fraction, drawn: int, drawn_fps: Fraction | int) -> list[int]:
    """Which of `drawn` frames at `drawn_fps` shows at each of `frames` frames at `fps`: the nearest, both from 0."""
    return [min(nearest(Fraction(tick) / fps * drawn_fps), drawn - 1) for tick in range(frames)]


# -- extension, shot switching ----------------------------------------------------------------------------------------


def shot_seconds(seconds: float) -> int:
    """The length that the model draws for a shot of `seconds`: the next whole one. Raises ValueError beyond 2..5."""
    if not 2 <= seconds <= 5:
        raise RequestError(f"a new shot lasts 2 to 5 seconds, not {seconds:g}")
    return ceil(exact(seconds))


def context_frames(seconds: int) -> int:
    """Frames of the clip that a new shot of 2, 3, 4 or 5 seconds is cut from."""
    return CONTEXT_FRAMES[seconds]


# -- avatars ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Segments:
    """How an avatar of `frames` video frames is made piece by piece.

    window: frames of one pass, 4n + 1. motion: frames that a pass takes over from the one before. drop: last frames of
    a pass that the next one draws again. Pass k covers frames [k * stride, k * stride + window); the last one may end
    after `frames`, where the sound is continued by its own reversed tail.
    Raises ValueError where the numbers cannot tile.
    """

    frames: int
    window: int = 81
    motion: int = 5
    drop: int = 12

    def __post_init__(self) -> None:
        if self.window % GROUP != 1 or self.motion % GROUP != 1 or self.drop < 0 or self.frames < 1:
            raise RequestError(f"an avatar needs frames, and windows and motion frames of 4n + 1, not {self}")
        if self.stride < 1 or self.window < 2 * self.motion:
            raise RequestError(f"a window of {self.window} frames is too short for {self.motion} + {self.drop} frames")

    @property
    def stride(self) -> int:
        return self.window - self.motion - self.drop

    @property
    def count(self) -> int:
        return 1 + ceil(max(0, self.frames - self.window) / self.stride)

    @property
    def padded(self) -> int:
        """Frames that the passes cover."""
        return self.window + (self.count - 1) * self.stride

    def span(self, index: int) -> tuple[int, int]:
        """First frame, and the one after the last, of a pass."""
        return index * self.stride, index * self.stride + self.window

    def kept(self, index: int) -> tuple[int, int]:
        """Which frames of a pass, counted inside it, go to the output: the others belong to a neighbour."""
        return self.motion if index else 0, self.window - (self.drop if index < self.count - 1 else 0)

    def without_frozen_end(self) -> Segments:
        """The same, long enough that the last pass's end, which stands still at its key frame, is cut off."""
        return Segments(self.frames + self.drop, self.window, self.motion, self.drop)


def key_frame_positions(segments: Segments) -> list[int]:
    """Per pass, the frame of the key-frame clip that it ends with, in the official way.

    The ends of all passes are scaled linearly onto the one key-frame clip and rounded, halves to even.
    """
    total = min(segments.padded, AVATAR_FRAMES) - 1  # where padding passes the limit, it does not count
    last = segments.window - 1
    ends = [min(segments.span(index)[1] - 1, total) for index in range(segments.count)]
    return [round(Fraction(end * last, total)) for end in ends]


def spread(segments: Segments, per_chapter: int) -> list[tuple[int, list[int]]]:
    """Key frames for long avatars: (first video frame, frame of its key-frame clip per pass) for each chapter.

    A chapter is a run of at most `per_chapter` passes with a key-frame clip of its own, driven by the sound at its own
    place; chapters are equal within one pass. Positions inside a chapter are spread as in `key_frame_positions`.
    """
    chapters = ceil(segments.count / per_chapter)
    short, longer = divmod(segments.count, chapters)
    sizes = [short + 1] * longer + [short] * (chapters - longer)
    starts = accumulate(sizes, initial=0)
    inside = [
        Segments(segments.window + (size - 1) * segments.stride, segments.window, segments.motion, segments.drop)
        for size in sizes
    ]
    return [(segments.span(start)[0], key_frame_positions(part)) for start, part in zip(starts, inside, strict=False)]


@dataclass(frozen=True)
class AvatarPlan:
    """Segments, and where their end key frames come from.

    chapters: as `spread` gives them; one without key frames where a single key-frame pass is the whole video.
    """

    segments: Segments
    chapters: list[tuple[int, list[int]]]

    @classmethod
    def of(cls, segments: Segments, official: bool, per_chapter: int = 8) -> AvatarPlan:
        """official: one chapter, whatever the length; a video of exactly one window still gets a second pass.

        8 passes a chapter are about 20 s: a key-frame pass for each adds an eighth to the work.
        """
        if segments.frames < segments.window or (segments.frames == segments.window and not official):
            return cls(segments, [(0, [])])
        if official:
            return cls(segments, [(0, key_frame_positions(segments))])
        segments = segments.without_frozen_end()
        return cls(segments, spread(segments, per_chapter))

    @property
    def single(self) -> bool:
        """Whether a key-frame pass is the whole video."""
        return self.chapters == [(0, [])]

    @property
    def passes(self) -> int:
        """Key-frame passes and all others."""
        return sum(1 + len(ends) for _, ends in self.chapters)


def turned_tail(frames: int, padded: int) -> list[int]:
    """Indices into a sequence of `frames` that continue it to `padded` by its own end, turned back in time.

    Where the end is shorter than what is missing, the walk turns again at the sequence's start.
    """
    cycle = [*range(frames), *range(frames - 1, -1, -1)]
    return [cycle[index % len(cycle)] for index in range(padded)]
