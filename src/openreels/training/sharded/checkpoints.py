"""Sharded checkpoints: every process writes its part, and any other number of processes reads them again.

`step-000120/` appears when all of it is on disk: it is written as `.step-000120.tmp` and renamed.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed as dist
import torch.distributed.checkpoint as dcp

__all__ = ["Checkpoints"]

EXPORTED = "exported"  # an empty file in a checkpoint


class Checkpoints:
    """The checkpoints of one training in `folder`, the newest `keep` of them.

    background: go on training while the disk is written; at most one write is under way.
    """

    def __init__(self, folder: Path, *, background: bool = False, keep: int = 2):
        self.folder, self.keep = folder, keep
        # Messages of a write in the background must not mix with those of the training.
        self.group = dist.new_group(backend="gloo") if background else None
        self.pending: tuple[int, Future] | None = None

    def steps(self) -> list[int]:
        """Of the complete checkpoints, in order."""
        return sorted(int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*"))

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write `state` (nested dictionaries of tensors, sharded or not, and plain values)."""
        self.finish()
        temporary = self._path(step, ".tmp")
        if dist.get_rank() == 0:
            for broken in self.folder.glob(".step-*.tmp"):
                shutil.rmtree(broken)
            self.folder.mkdir(parents=True, exist_ok=True)
        dist.barrier()
        with _quiet():
            if self.group is None:
                dcp.save(state, checkpoint_id=temporary)
                self._publish(step)
            else:
                self.pending = step, dcp.async_save(state, checkpoint_id=temporary, process_group=self.group)

    def finish(self) -> None:
        """Wait for a write in the background."""
        if self.pending is not None:
            (step, future), self.pending = self.pending, None
            future.result()
            self._publish(step)

    def load(self, step: int, state: dict[str, Any]) -> None:
        """Fill `state`, which says what to read and how it is sharded here."""
        with _quiet():
            dcp.load(state, checkpoint_id=self._path(step))

    def mark_exported(self, step: int) -> None:
        """Note that the weights of this checkpoint have been exported, all of them."""
        if dist.get_rank() == 0:
            (self._path(step) / EXPORTED).touch()

    def exported(self, step: int) -> bool:
        """Whether the newest checkpoint has at least so many steps, and its weights have been exported."""
        return bool(steps := self.steps()) and steps[-1] >= step and (self._path(steps[-1]) / EXPORTED).is_file()

    def _path(self, step: int, ending: str = "") -> Path:
        return self.folder / f"{'.' if ending else ''}step-{step:06d}{ending}"

    def _publish(self, step: int) -> None:
        dist.barrier()
        if dist.get_rank() == 0:
            shutil.rmtree(self._path(step), ignore_errors=True)
            self._path(step, ".tmp").replace(self._path(step))
            for old in self.steps()[: -self.keep]:
                shutil.rmtree(self._path(old))
        dist.barrier()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warnings to itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=FutureWarning)
        yield
