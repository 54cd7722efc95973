"""Long clips are made window by window; what is finished is kept, so that an interrupted run goes on where it was.

Every window's result is one safetensors file, named by all that decides it, that appears whole or not at all.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from openreels.media.atomic import atomic
from openreels.pipelines.fingerprint import fingerprint
from openreels.request import RequestError
from openreels.tasks.window import Made, Making, Window

__all__ = ["resumable"]


def resumable(making: Making, work: Path | None, identity: str) -> Making:
    """The same windows, without those whose results lie in the folder `work` already; new results are put there.

    identity: of all that decides a result besides its window: weights, seed, settings. A clip of a single window leaves
    nothing behind, and the folder is made when there is something to put in. Raises RequestError for a damaged file,
    and where the folder cannot be written.
    """
    made = None
    while True:
        try:
            window = making.send(made)
        except StopIteration as end:
            return end.value
        if work is None or window.parts == 1:
            made = yield window
            continue
        path = work / f"{window.part:03d}-{window_fingerprint(window, identity)}.safetensors"
        made = load_made(path)
        if made is None:
            made = yield window
            save_made(made, path)


def window_fingerprint(window: Window, identity: str) -> str:
    parts = [identity, window.prompt, window.canvas, window.frames, window.video, window.audio]
    parts += [window.part, window.parts]
    for field in fields(window.given):
        given = getattr(window.given, field.name)
        parts += [field.name, *(given if isinstance(given, tuple) else (given,))]
    return fingerprint(parts)


def load_made(path: Path) -> Made | None:
    """None where there is no such file."""
    if not path.is_file():
        return None
    try:
        kept = {name: tensor.numpy() for name, tensor in load_file(path).items()}
    except SafetensorError as error:
        raise RequestError(f"{path} is damaged; delete it to make this part again") from error
    return Made(kept.get("frames"), kept.get("sound"))


def save_made(made: Made, path: Path) -> None:
    """Raises RequestError where that is impossible."""
    parts = {"frames": made.frames, "sound": made.sound}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as part:
            save_file({name: torch.from_numpy(x).contiguous() for name, x in parts.items() if x is not None}, part)
    except (OSError, SafetensorError) as error:
        raise RequestError(f"finished parts cannot be kept in {path.parent}: {error}") from error
