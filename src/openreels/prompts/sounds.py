"""One plain sentence that says which kinds of sound a clip should have: the wording that models are trained on."""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["SWITCHED", "sentence"]

SWITCHED = ("speech", "effects", "music")  # effects: with the quiet sounds of the place

_ALONE = {
    "speech": ("Only the speech is heard.", "只有说话声。"),
    "effects": ("Only the sound effects are heard.", "只有音效。"),
    "music": ("Only the music is heard.", "只有音乐。"),
}
_MISSING = {
    "speech": ("Without speech.", "没有说话声。"),
    "effects": ("Without sound effects.", "没有音效。"),
    "music": ("Without music.", "没有音乐。"),
}
_SILENT = ("No sound is heard.", "没有任何声音。")
_LANGUAGES = ("en", "zh")


def sentence(wanted: Collection[str], language: str = "en") -> str:
    """What to add to a prompt so that only the wanted kinds of sound are heard; "" where all are.

    wanted: of SWITCHED. language: "en" or "zh". Raises ValueError for other kinds or languages.
    """
    for kind in wanted:
        if kind not in SWITCHED:
            raise ValueError(f"sounds must be of {', '.join(SWITCHED)}, not {kind!r}")
    if language not in _LANGUAGES:
        raise ValueError(f"language must be en or zh, not {language!r}")
    heard = [kind for kind in SWITCHED if kind in wanted]
    if len(heard) == len(SWITCHED):
        return ""
    if not heard:
        wording = _SILENT
    elif len(heard) == 1:
        wording = _ALONE[heard[0]]
    else:
        wording = _MISSING[next(kind for kind in SWITCHED if kind not in heard)]
    return wording[_LANGUAGES.index(language)]
