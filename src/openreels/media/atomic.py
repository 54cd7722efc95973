"""Files that appear whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic", "try_folder"]


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A fresh path to write to, which takes the name `path` at the end and vanishes if anything fails. Raises OSError.

    It lies in the same folder, because a rename is atomic only within one file system.
    """
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        yield part
        part.replace(path)
    finally:  # also after Ctrl-C; after the rename there is nothing left to remove
        part.unlink(missing_ok=True)


def try_folder(folder: Path) -> None:
    """Raises OSError where no file can be made in `folder`. Trying is the only answer: permissions, read-only mounts
    and quotas all have a say."""
    trial = folder / f".{secrets.token_hex(8)}.part"
    trial.touch()
    trial.unlink()
