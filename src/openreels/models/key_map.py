"""Names of foreign weights and ours, as tables that are read in both directions.

A rule is a pair (their name, our name). `#` stands for any block number, `*` for whatever follows (weight, bias); both
occur in the same order on the two sides. A rule whose right side is a tuple cuts the tensor into equal parts along its
first axis.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

__all__ = ["KeyMap", "some_of"]


class KeyMap:
    """A table of (their name, our name) rules; names that no rule knows give None."""

    def __init__(self, rules: Sequence[tuple[str, str | tuple[str, ...]]]):
        self.rules = tuple(rules)

    @cached_property
    def _ours(self) -> list[tuple[re.Pattern, tuple[str, ...]]]:
        return [(_pattern(theirs), (ours,) if isinstance(ours, str) else ours) for theirs, ours in self.rules]

    @cached_property
    def _theirs(self) -> list[tuple[re.Pattern, str, int, int]]:
        return [
            (_pattern(part), theirs, index, len(parts))
            for theirs, ours in self.rules
            for parts in [(ours,) if isinstance(ours, str) else ours]
            for index, part in enumerate(parts)
        ]

    def ours(self, key: str) -> tuple[str, ...] | None:
        """Our names of their key: one, or several where the tensor is cut into parts along axis 0; None = unknown."""
        for pattern, names in self._ours:
            if match := pattern.fullmatch(key):
                return tuple(_fill(name, match) for name in names)
        return None

    def theirs(self, key: str) -> tuple[str, int, int] | None:
        """Their name of our key, which part of it ours is, and of how many; None = unknown."""
        for pattern, name, index, count in self._theirs:
            if match := pattern.fullmatch(key):
                return _fill(name, match), index, count
        return None


def _pattern(name: str) -> re.Pattern:
    return re.compile(re.escape(name).replace(r"\#", r"(\d+)").replace(r"\*", r"(.+)"))


def _fill(name: str, match: re.Match) -> str:
    groups = iter(match.groups())
    return re.sub(r"[#*]", lambda _: next(groups), name)


def some_of(names: Sequence[str], most: int = 20) -> str:
    """The names, or the first of very many, in one line."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
