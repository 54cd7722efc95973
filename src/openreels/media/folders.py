"""Folders that appear whole or not at all, made of files that may stand in other folders too."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["check_new", "link_tree", "new_folder", "replaced_folder", "size_to_copy"]

WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".gguf")


def check_new(folder: Path) -> None:
    """Raises ValueError where something is there already, other than an empty folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} holds something already: give the name of a new folder")


@contextmanager
def new_folder(folder: Path, size: int = 0) -> Iterator[Path]:
    """A folder to fill beside `folder`, whose name it takes at the end; it vanishes if anything fails.

    size: bytes that are going to be written. Raises ValueError where `folder` holds something, or the disk is full.
    """
    check_new(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < size:
        raise ValueError(f"the weights take {size / 1e9:.1f} GB, and {folder.parent} has {free / 1e9:.1f} GB left")
    part = folder.with_name(f".{secrets.token_hex(8)}.part")
    part.mkdir()
    try:
        yield part
        part.replace(folder)
    finally:  # also after Ctrl-C; after the rename there is nothing left to remove
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `folder` at the end, if there is one; that one stays if anything
    fails."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part, old = (folder.with_name(f".{secrets.token_hex(8)}.part") for _ in range(2))
    part.mkdir()
    try:
        yield part
        if folder.exists():
            folder.replace(old)
        part.replace(folder)
    finally:
        if old.exists() and not folder.exists():
            old.replace(folder)
        for rest in (part, old):
            shutil.rmtree(rest, ignore_errors=True)


def link_tree(source: Path, target: Path) -> None:
    """A second folder with the files of `source`: weights are hard links where the file system has them, and all else
    is copied, so that a config may be edited in one place alone. Raises OSError."""
    for path in files_of(source):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in WEIGHTS:
            try:
                # The hub's cache holds links to the files themselves: resolved, or the link would be linked.
                os.link(path.resolve(), place)
                continue
            except OSError:
                pass  # another file system, or one without links
        shutil.copyfile(path, place)


def size_to_copy(source: Path, target: Path) -> int:
    """Bytes that `link_tree` is going to write, as far as the file systems tell. target: its nearest folder counts."""
    there = next(folder for folder in (target, *target.absolute().parents) if folder.exists()).stat().st_dev
    stats = [(path, path.stat()) for path in files_of(source)]
    return sum(stat.st_size for path, stat in stats if path.suffix not in WEIGHTS or stat.st_dev != there)


def files_of(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]
