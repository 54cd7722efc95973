"""Which cut comes next: what `--transition auto` stands for. The prompt says it, or else the clip suggests it.

What prompts say is a table (`cues`), the rest are rules that can be named; the answer comes with its reason.
Legend: T frames  H, W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from openreels.media import Clip
from openreels.request import Request, RequestError
from openreels.shots.boundaries import working_frames
from openreels.shots.classifier import SINGLE_SHOT
from openreels.shots.cues import ANY_CUT, asked
from openreels.shots.detector import Shot, detect_shots
from openreels.shots.features import Standout, standouts

__all__ = ["Choice", "choose_transition", "decide"]

REMEMBERED = 30.0  # seconds of the clip's end that are looked at
SMALL, LARGE = 0.07, 0.25  # shares of the picture of a subject that asks to be seen nearer, or from further away
EQUALS = 0.4  # two subjects are a pair when the smaller has this share of the larger one


@dataclass(frozen=True, slots=True)
class Choice:
    """kind: one of `CUT_KINDS`, or "single-shot": the shot goes on. why: one sentence, without its full stop."""

    kind: str
    why: str

    @property
    def transition(self) -> str | None:
        """As a request has it."""
        return None if self.kind == SINGLE_SHOT else self.kind


def choose_transition(prompt: str, frames: np.ndarray, fps: Fraction | float) -> Choice:
    """The kind of cut that leads from a clip to what the prompt describes, or "single-shot".

    prompt: English or Chinese. frames: (T, H, W, 3) uint8 of the clip, fps its rate. The clip is looked at only where
    the prompt leaves something open. Deterministic.
    Raises RequestError where the clip must be looked at and the extra `shots` is missing.
    """
    kind, words = asked(prompt)
    if kind is not None and kind != ANY_CUT:
        return Choice(kind, f'the prompt says "{words}"')
    recent = frames[-max(round(REMEMBERED * float(fps)), 1) :]
    shots = detect_shots(recent, fps)
    if kind is None and (waits := _no_cut_yet(shots)):
        return Choice(SINGLE_SHOT, waits)
    chosen, why = _suggested(shots, standouts(working_frames(recent[-1:])[0]))
    return Choice(chosen, f'the prompt says "{words}", and {why}' if words else why)


def decide(request: Request, clip: Clip, lasts: tuple[float, float] | None = None) -> tuple[Request, Choice]:
    """A request whose transition is "auto" with the choice in its place.

    clip: the request's video. lasts: shortest and longest new shot of the model, seconds, if it has such limits; what
    is asked to be of another length goes on in the same shot.
    Raises RequestError where the clip has no frames, and as `choose_transition`.
    """
    if clip.frames is None:
        raise RequestError(f"video must have frames, and {request.video} is a sound alone")
    if lasts is not None and request.duration is not None and not lasts[0] <= request.duration <= lasts[1]:
        limits = f"{lasts[0]:g} to {lasts[1]:g} s"
        choice = Choice(SINGLE_SHOT, f"{request.duration:g} s are asked, and a new shot lasts {limits}")
    else:
        choice = choose_transition(request.prompt, clip.frames, clip.fps)
    return request.model_copy(update={"transition": choice.transition}), choice


def _no_cut_yet(shots: tuple[Shot, ...]) -> str:
    """Why a prompt that says nothing of a cut means none; "" where the clip's own rhythm calls for one."""
    if len(shots) == 1:
        return "the prompt asks for no cut, and the clip is one shot"
    *finished, last = shots
    usual = sum(shot.end - shot.start for shot in finished) / len(finished)
    age = last.end - last.start
    if age < usual:
        return f"the prompt asks for no cut, and the last shot is {age:.1f} s long, shorter than the others"
    return ""


def _suggested(shots: tuple[Shot, ...], standing: list[Standout]) -> tuple[str, str]:
    """The kind of cut that suits the end of the clip, and why."""
    if shots[-1].cut == "shot-reverse-shot":
        return "shot-reverse-shot", "the clip goes back and forth between two"
    if shots[-1].cut == "cut-in":
        return "cut-out", "the clip has just cut in"
    if not standing:
        return "cut-away", "nothing stands out at the end of the clip"
    first = standing[0]
    if len(standing) > 1 and standing[1].area >= EQUALS * first.area:
        return "shot-reverse-shot", "two of like size are in view at the end of the clip"
    if first.area < SMALL:
        return "cut-in", f"the subject fills only {first.area:.0%} of the picture at the end of the clip"
    if first.area > LARGE:
        return "cut-out", f"the subject fills {first.area:.0%} of the picture at the end of the clip"
    return "multi-angle", f"the subject fills {first.area:.0%} of the picture, neither near nor far"
