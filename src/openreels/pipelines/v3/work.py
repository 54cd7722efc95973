"""A work folder: what long videos have finished so far, so that an interrupted run goes on where it was.

Every request has a folder of its own in it, named by all that decides its result. Every pass is one safetensors file
that appears whole or not at all, with its latents and the state of the noise generator after it. Latents are a
fiftieth of the frames they decode to, and decode to the same frames again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from openreels.media.atomic import atomic
from openreels.pipelines.fingerprint import fingerprint
from openreels.request import RequestError

__all__ = ["WorkFolder", "fingerprint", "remembered", "weight_sample"]


class WorkFolder:
    """Finished passes of one request, by name.

    folder: of any number of requests. fingerprint: of everything that decides the result of this one. Raises OSError
    where the folder cannot be written.
    """

    def __init__(self, folder: Path | str, fingerprint: str):
        self.folder = Path(folder) / fingerprint
        self.folder.mkdir(parents=True, exist_ok=True)

    def remember(self, name: str, generator: torch.Generator, draw: Callable[[], Tensor]) -> tuple[Tensor, bool]:
        """(latents of a pass on the CPU, whether they were there already). Draws and keeps them if they were not.

        The generator is left as the pass leaves it, either way. Raises ValueError where a file is damaged.
        """
        path = self.folder / f"{name}.safetensors"
        if path.is_file():
            try:
                kept = load_file(path)
                generator.set_state(kept["generator"])
                return kept["latents"], True
            except (SafetensorError, KeyError, RuntimeError) as error:
                raise RequestError(f"{path} is damaged; delete it to draw this part again") from error
        latents = draw().cpu().contiguous()
        with atomic(path) as part:
            save_file({"latents": latents, "generator": generator.get_state()}, part)
        return latents, False


def remembered(
    work: WorkFolder | None,
    name: str,
    generator: torch.Generator,
    draw: Callable[[], Tensor],
    on_known: Callable[[], None],
) -> Tensor:
    """Latents of a pass: out of the work folder (then `on_known` is called), or drawn, and kept if there is one."""
    if work is None:
        return draw()
    latents, known = work.remember(name, generator, draw)
    if known:
        on_known()
    return latents


def weight_sample(model: nn.Module) -> Tensor:
    """The first number of every parameter, float32: enough to tell two sets of weights apart, cheap at any size.

    Parameters that are elsewhere for now (sequential offloading) are left out.
    """
    present = (plain(parameter.detach()) for parameter in model.parameters() if not parameter.is_meta)
    return torch.cat([torch.zeros(1), *(parameter.flatten()[:1].float().cpu() for parameter in present)])


def plain(parameter: Tensor) -> Tensor:
    """A quantised parameter as the bytes it holds: diffusers' own kind of tensor mixes with no other."""
    return parameter.as_tensor() if hasattr(parameter, "as_tensor") else parameter
