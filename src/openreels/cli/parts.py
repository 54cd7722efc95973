"""What is handed over besides the prompt, as it is typed: TAG=PATH, IMG@SECONDS, x0,y0,x1,y1, START-END.

Each reader gives fields as `Request` reads them, paths made absolute, so that a clip's recipe names its files wherever
it is replayed. What is no number stays text: `Request` says what is accepted. Raises RequestError where a form is
broken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "keyframe_of",
    "keyframes_of",
    "mask_of",
    "masks_of",
    "modality_of",
    "reference_of",
    "sounds_of",
    "span_of",
    "speaker_of",
    "tagged_speaker_of",
]


def absolute(path: str | Path) -> str:
    return str(Path(path).absolute())


def number(text: str) -> float | str:
    """Text that is no number stays what it is."""
    try:
        return float(text)
    except ValueError:
        return text.strip()


def numbers(text: str) -> list[float] | None:
    """Of "0.1,0.2,0.8"; None where a part is no number."""
    parts = [number(part) for part in text.split(",")]
    return parts if all(isinstance(part, float) for part in parts) else None


def refuse(flag: str, accepted: str, text: str) -> None:
    from openreels.request import RequestError, shown

    raise RequestError(f"{flag} must be {accepted}, not {shown(text)}")


def reference_of(text: str) -> dict[str, str]:
    """TAG=PATH."""
    tag, equals, path = text.partition("=")
    if not (equals and path):
        refuse("--ref", "TAG=PATH, such as cat=cat.png", text)
    return {"tag": tag.removeprefix("@"), "path": absolute(path)}


def keyframe_of(text: str) -> dict[str, Any]:
    """IMG@SECONDS, IMG@auto or IMG. A file may have an @ in its name."""
    if Path(text).exists() or "@" not in text:
        return {"path": absolute(text), "at": "auto"}
    path, time = text.rsplit("@", 1)
    return {"path": absolute(path), "at": number(time)}


def keyframes_of(first: Path | None, last: Path | None, others: Sequence[str] | None) -> list[dict[str, Any]]:
    """In the order in which they are seen: those at "auto" are spread between their neighbours."""
    begin = [] if first is None else [{"path": absolute(first), "at": "first"}]
    end = [] if last is None else [{"path": absolute(last), "at": "last"}]
    return [*begin, *map(keyframe_of, others or ()), *end]


def mask_of(text: str) -> dict[str, Any]:
    """x0,y0,x1,y1, or the path of a picture or a mask video."""
    box = None if Path(text).exists() else numbers(text)
    if box is None:
        return {"path": absolute(text)}
    if len(box) != 4:
        refuse("--mask", "the path of a picture or a clip, or a box x0,y0,x1,y1 of fractions from 0 to 1", text)
    return {"box": box}


def polygon_of(text: str) -> dict[str, Any]:
    """x,y,x,y,x,y ..., at least three corners."""
    found = numbers(text)
    if found is None or len(found) % 2 or len(found) < 6:
        refuse("--polygon", "at least three corners x,y,x,y,x,y of fractions from 0 to 1", text)
    return {"polygon": list(zip(found[::2], found[1::2], strict=True))}


def masks_of(masks: Sequence[str] | None, polygons: Sequence[str] | None, invert: bool) -> list[dict[str, Any]]:
    """invert: what is made anew is all that none of them holds."""
    from openreels.request import RequestError

    found = [*map(mask_of, masks or ()), *map(polygon_of, polygons or ())]
    if invert and len(found) != 1:
        raise RequestError(f"--invert-mask needs a mask, and exactly one: here are {len(found)}")
    return [mask | {"invert": invert} for mask in found]


def span_of(text: str | None) -> list[float | str] | None:
    """START-END in seconds."""
    if text is None:
        return None
    start, dash, end = text.partition("-")
    if not (dash and start and end):
        refuse("--span", "START-END in seconds, such as 0.5-1.25", text)
    return [number(start), number(end)]


def sounds_of(text: str | None) -> list[str] | None:
    """Kinds with commas between them."""
    return None if text is None else [kind.strip() for kind in text.split(",")]


def speaker_of(text: str, kind: str = "audio") -> dict[str, Any]:
    """SOUND, SOUND@left,top,right,bottom or SOUND@MASK. kind: "audio" or "voice". A file may have an @ in its name."""
    if Path(text).exists() or "@" not in text:
        return {kind: absolute(text)}
    sound, place = text.rsplit("@", 1)
    region = place.split(",")
    return {kind: absolute(sound)} | ({"region": region} if len(region) == 4 else {"mask": absolute(place)})


def tagged_speaker_of(text: str, kind: str = "audio") -> dict[str, Any]:
    """The same with TAG= before it, if the speaker is shown by a reference. A file may have a = in its name."""
    tag, equals, sound = text.partition("=")
    if Path(text).exists() or not equals:
        return speaker_of(text, kind)
    return {"tag": tag.removeprefix("@")} | speaker_of(sound, kind)


def modality_of(output: Path, no_audio: bool = False, audio_only: bool = False) -> str:
    """What is made: as the flags say, and a single picture where the file can hold nothing else."""
    from openreels.media.write import FORMATS
    from openreels.request import RequestError

    if no_audio and audio_only:
        raise RequestError("--no-audio and --audio-only together leave nothing to make; accepted is one of them")
    if audio_only:
        return "audio"
    format = FORMATS.get(output.suffix.lower())
    if format is not None and format.holds == ("picture",):
        return "image"
    return "video" if no_audio else "video+audio"
