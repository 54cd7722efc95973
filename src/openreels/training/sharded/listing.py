"""Which clips a data set has: a table of them, or a folder of files with their captions beside them.

table.jsonl     one clip a line: {"path": "a.mp4", "caption": "...", "start": 1.0, "end": 4.5,
                "references": {"cat": "cat.png"}}; all but path and caption may be left out; paths are relative to
                the table; a caption may mention its references as @cat
folder          each video, picture and sound with a text file of its name: a.mp4, a.txt
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openreels.media.error import MediaError
from openreels.media.limits import LIMITS
from openreels.media.probe import probe
from openreels.media.read import check_header
from openreels.prompts import PromptError, check_tags, parse

__all__ = ["Listed", "check_listed", "listed_clips"]

MEDIA = (".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif", ".png", ".jpg", ".jpeg", ".webp",
         ".wav", ".mp3", ".flac", ".m4a", ".ogg")  # fmt: skip
TOLD = 3  # mistakes that a message names
TOLERANCE = 0.1  # seconds: headers round, and players do not mind


# What a line of a table may hold: the type, and what it is called.
FIELDS: Mapping[str, tuple[Any, str]] = {
    "path": (str, "the name of a file"),
    "caption": (str, "a text"),
    "start": ((int, float), "a number of seconds"),
    "end": ((int, float), "a number of seconds"),
    "references": (dict, "files by their tags"),
}


@dataclass(frozen=True)
class Listed:
    """One clip. start, end: seconds of the file, all of it by default. references: of what appears in it, by tag.

    name: tells it from all others of its list, its caption included, wherever the list lies.
    """

    path: Path
    caption: str
    start: float = 0.0
    end: float | None = None
    references: Mapping[str, Path] = field(default_factory=dict)
    name: str = ""


def listed_clips(source: Path) -> list[Listed]:
    """The clips of a table (.jsonl) or a folder, in their order; paths with the source's folder in front.

    Raises ValueError, with the line or the file, where it is neither or holds what is no clip.
    """
    if source.is_dir():
        return _of_folder(source)
    if source.suffix != ".jsonl" or not source.is_file():
        raise ValueError(f"clips must be a folder or a table (.jsonl), not {source}")
    lines = source.read_text(encoding="utf-8").splitlines()
    found = [_of_line(f"{source}, line {n}", line, source.parent) for n, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise ValueError(f"{source} lists no clips")
    return found


def _of_folder(folder: Path) -> list[Listed]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in MEDIA)
    if not files:
        raise ValueError(f"{folder} holds no clips: none of its files ends in {', '.join(MEDIA)}")
    bare = [path.name for path in files if not path.with_suffix(".txt").is_file()]
    if bare:
        raise ValueError(f"every clip needs its caption in a .txt of the same name; missing for {_told(bare)}")
    captions = [path.with_suffix(".txt").read_text(encoding="utf-8").strip() for path in files]
    return [
        Listed(path, caption, name=json.dumps({"path": str(path.relative_to(folder)), "caption": caption}))
        for path, caption in zip(files, captions, strict=True)
    ]


def _of_line(where: str, line: str, folder: Path) -> Listed:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where} is no JSON: {error}") from error
    if not isinstance(fields, dict) or not {"path", "caption"} <= fields.keys() <= FIELDS.keys():
        raise ValueError(f"{where} must be an object with path and caption, and of {', '.join([*FIELDS][2:])} at most")
    for name, value in fields.items():
        kind, called = FIELDS[name]
        if not isinstance(value, kind):
            raise ValueError(f"{where}: {name} must be {called}, not {json.dumps(value)}")
    references = fields.get("references", {})
    if wrong := [path for path in references.values() if not isinstance(path, str)]:
        raise ValueError(f"{where}: references must be files by their tags, not {json.dumps(wrong[0])}")
    places = {"path": folder / fields["path"], "references": {tag: folder / path for tag, path in references.items()}}
    return Listed(**fields | places, name=json.dumps(fields, sort_keys=True))


def check_listed(clips: Sequence[Listed], shown: bool = False) -> None:
    """Looks at the headers of all files and at all captions. Raises ValueError that names the first mistakes.

    shown: the text encoder sees the references, so that captions must say where each belongs.
    """
    mistakes = [mistake for clip in clips if (mistake := _mistake(clip, shown))]
    if mistakes:
        raise ValueError(f"{len(mistakes)} of {len(clips)} clips cannot be used: {_told(mistakes, '; ')}")


def _mistake(clip: Listed, shown: bool) -> str:
    try:
        facts = probe(clip.path)
        # Files are decoded whole, also where `start` and `end` cut a short part out.
        check_header(clip.path, facts, LIMITS)
        caption = parse(clip.caption, clip.references)
        check_tags(caption, clip.references)
        references = {path: probe(path) for path in clip.references.values()}
        for path, stated in references.items():
            check_header(path, stated, LIMITS)
    except MediaError as error:
        return str(error)
    except PromptError as error:
        return f"{clip.path}: its caption, {error.sentence}"
    seconds = max(track.seconds for track in (facts.video, facts.audio) if track is not None)
    last = seconds or float("inf")  # some headers do not say how long a file lasts
    end = last if clip.end is None else clip.end
    if not 0 <= clip.start < end <= last + TOLERANCE:
        return f"{clip.path}: from {clip.start:g} to {end:g} s is no part of its {seconds:.4g} s"
    if unseen := [path for path, stated in references.items() if stated.video is None]:
        return f"{clip.path}: its reference {unseen[0]} must be a picture or a clip"
    if unsaid := [f"@{tag}" for tag in clip.references if shown and tag not in caption.tags]:
        return f"{clip.path}: its caption must mention {', '.join(unsaid)}, for the text encoder is shown references"
    return ""


def _told(mistakes: Sequence[str], between: str = ", ") -> str:
    more = f"{between}and {len(mistakes) - TOLD} more" if len(mistakes) > TOLD else ""
    return between.join(mistakes[:TOLD]) + more
