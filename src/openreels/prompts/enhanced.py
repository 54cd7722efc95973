"""What an enhancer is and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["MAX_LENGTH", "Enhanced", "Enhancer", "Pictures"]

Pictures = Mapping[str, str | Path]  # tag of a reference -> where it lies

MAX_LENGTH = 4_000  # characters, of any prompt


@dataclass(frozen=True)
class Enhanced:
    """prompt: what is to be used. original: what the user wrote. by: name of the enhancer that wrote `prompt`.

    warnings: whole sentences for the user; anything that did not go as asked.
    """

    prompt: str
    original: str
    by: str
    warnings: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return self.prompt != self.original


class Enhancer(Protocol):
    """Turns free text into a structured caption; what is structured already, it leaves alone.

    prompt: as the user wrote it. modality: "video+audio", "video" or "audio"; nothing is written for what is not made.
    references: what the prompt may mention. Raises PromptError where the prompt breaks the
    grammar, nothing else: what goes wrong inside becomes a warning.
    """

    name: str

    def __call__(self, prompt: str, modality: str = "video+audio", references: Pictures | None = None) -> Enhanced: ...
