"""The one error of requests, and values as its sentences show them."""

from __future__ import annotations

__all__ = ["RequestError", "shown"]


class RequestError(ValueError):
    """A request cannot be served. One sentence: which field, what was given, what is accepted."""


def shown(value: object) -> str:
    """A value in an error message: short, on one line."""
    if isinstance(value, str) and not value.strip():
        return "an empty text"
    text = repr(value)
    return text if len(text) <= 60 else f"{len(value):,} characters" if isinstance(value, str) else f"{text[:56]} ..."
