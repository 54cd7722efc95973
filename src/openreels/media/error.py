"""The one error of reading and writing media."""

from __future__ import annotations

__all__ = ["MediaError"]


class MediaError(ValueError):
    """A file cannot be read or written. One sentence: which file, what is wrong with it, what is accepted."""
