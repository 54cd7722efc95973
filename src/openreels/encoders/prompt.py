"""A prompt with its references in place: text and media in the order in which they are read.

A reference is named in the text by its tag: `@image_1`, `@video_1`, `@Actor-0`, `@Audio-0` (paper, in-context
references).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from openreels.media.clip import Clip
from openreels.prompts import check_tags, parse

__all__ = ["PromptParts"]


@dataclass(frozen=True)
class PromptParts:
    """Text and media in order. A picture is a `Clip` of one frame, a sound a clip without frames."""

    parts: tuple[str | Clip, ...]

    @classmethod
    def of(cls, prompt: str, media: Mapping[str, Clip] | None = None) -> PromptParts:
        """Puts each medium behind the first mention of its tag.

        The tag stays in the text, so that "@Actor-0" later on means what was seen at its first mention. media: by tag,
        without the "@". Raises ValueError for a prompt that breaks the grammar (`openreels.prompts`), for a tag without
        a medium and for a medium that no tag names.
        """
        media = media or {}
        caption = parse(prompt, media)
        check_tags(caption, media)
        if unused := [f"@{name}" for name in media if name not in caption.tags]:
            raise ValueError(f"the prompt does not mention {', '.join(unused)}; name each given medium by its @tag")
        parts: list[str | Clip] = []
        written = 0
        first = {mention.name: mention for mention in reversed(caption.mentions)}
        for mention in sorted(first.values(), key=lambda mention: mention.span):
            parts += [prompt[written : mention.span.end], media[mention.name]]
            written = mention.span.end
        return cls(tuple(part for part in (*parts, prompt[written:]) if part != ""))

    @property
    def media(self) -> tuple[Clip, ...]:
        return tuple(part for part in self.parts if isinstance(part, Clip))

    @property
    def text(self) -> str:
        """The words without the media."""
        return "".join(part for part in self.parts if isinstance(part, str))

    def digest(self) -> str:
        """The same for equal words, pixels, samples and rates in the same order, and for nothing else."""
        digest = hashlib.sha256()
        for part in self.parts:
            for field in [b"text", part.encode()] if isinstance(part, str) else [b"media", *_fields(part)]:
                digest.update(f"{len(field)}:".encode())
                digest.update(field)
        return digest.hexdigest()


def _fields(clip: Clip) -> list[bytes]:
    heads = (f"{None if array is None else array.shape}".encode() for array in (clip.frames, clip.audio))
    arrays = (b"" if array is None else array.tobytes() for array in (clip.frames, clip.audio))
    return [f"{clip.fps} {clip.sample_rate}".encode(), *heads, *arrays]
