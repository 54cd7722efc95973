"""Picture sizes of the V3 models: the bucket tables of the releases and how one is chosen.

A bucket is found by its printed key, height / width to two or three digits, not by its exact ratio: that is what the
official code does, and near a border between two buckets the two disagree. All sizes are multiples of 16 pixels.
Source: shared/spec/v3.md, section 3.4 (official `config.py` and `utils/avatar_util.py`, sizes floored to 16).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from openreels.media.aspect import ASPECTS
from openreels.request import RequestError

__all__ = ["AVATAR_BUCKETS", "BUCKETS", "Size", "Table", "exact_aspect", "nearest_bucket", "pick_size"]

Size = tuple[int, int]  # (height, width) in pixels
Table = Mapping[float, Size]  # height / width as printed -> size

# fmt: off
P480: Table = {
    0.38: (384, 1040), 0.43: (416, 976), 0.48: (432, 912), 0.50: (448, 896), 0.53: (464, 880), 0.54: (464, 864),
    0.56: (480, 848), 0.62: (496, 800), 0.67: (512, 784), 0.75: (544, 736), 1.00: (640, 640), 1.33: (736, 544),
    1.50: (784, 512), 1.78: (848, 480), 1.89: (880, 464), 2.00: (896, 448), 2.08: (912, 432),
}
P540: Table = {
    0.34: (416, 1216), 0.38: (464, 1216), 0.40: (464, 1152), 0.43: (496, 1152), 0.48: (496, 1024), 0.50: (512, 1024),
    0.53: (512, 960), 0.57: (544, 960), 0.60: (544, 912), 0.63: (576, 912), 0.67: (576, 864), 0.72: (624, 864),
    0.75: (624, 832), 0.79: (656, 832), 0.84: (656, 784), 0.92: (720, 784), 1.00: (720, 720), 1.09: (784, 720),
    1.26: (784, 624), 1.33: (832, 624), 1.40: (832, 592), 1.49: (880, 592), 1.62: (880, 544), 1.78: (960, 544),
    1.88: (960, 512), 2.00: (1024, 512), 2.13: (1024, 480),
}
P720: Table = {
    0.38: (576, 1568), 0.43: (624, 1456), 0.48: (656, 1376), 0.50: (672, 1344), 0.53: (688, 1312), 0.54: (704, 1296),
    0.56: (720, 1280), 0.62: (752, 1200), 0.67: (784, 1168), 0.75: (832, 1104), 1.00: (960, 960), 1.33: (1104, 832),
    1.50: (1168, 784), 1.78: (1280, 720), 1.89: (1312, 688), 2.00: (1344, 672), 2.08: (1376, 656),
}
AREA_627: Table = {
    0.26: (320, 1216), 0.38: (384, 1024), 0.50: (448, 896), 0.577: (480, 832), 0.67: (512, 768), 0.82: (576, 704),
    1.00: (640, 640), 1.22: (704, 576), 1.50: (768, 512), 1.73: (832, 480), 1.86: (832, 448), 2.00: (896, 448),
    2.50: (960, 384), 2.83: (1088, 384), 3.60: (1152, 320), 3.80: (1216, 320), 4.00: (1280, 320),
}
AREA_960: Table = {
    0.22: (448, 2048), 0.29: (512, 1792), 0.36: (576, 1600), 0.45: (640, 1408), 0.55: (704, 1280), 0.56: (720, 1280),
    0.63: (768, 1216), 0.76: (832, 1088), 0.88: (896, 1024), 1.00: (960, 960), 1.14: (1024, 896), 1.31: (1088, 832),
    1.50: (1152, 768), 1.58: (1216, 768), 1.78: (1280, 720), 1.82: (1280, 704), 1.91: (1344, 704), 2.20: (1408, 640),
    2.30: (1472, 640), 2.67: (1536, 576), 2.89: (1664, 576), 3.62: (1856, 512), 3.75: (1920, 512),
}
# fmt: on

BUCKETS: Mapping[str, Table] = {"480P": P480, "540P": P540, "720P": P720}  # references and extension
# The official avatar offers 540P and then fails on it; the table of the other two models serves it here.
AVATAR_BUCKETS: Mapping[str, Table] = {"480P": AREA_627, "540P": P540, "720P": AREA_960}


def nearest_bucket(height: float, width: float, table: Table) -> Size:
    """The size whose printed key is nearest to height / width; of two equally near, the wider one."""
    ratio = height / width
    return table[min(table, key=lambda key: abs(key - ratio))]


def pick_size(
    picture: Size,
    tables: Mapping[str, Table],
    resolution: str = "720P",
    aspect: str | None = None,
    height: int | None = None,
    width: int | None = None,
) -> Size:
    """(height, width) to generate at.

    picture: size of what is given; decides where neither `aspect` nor `height` and `width` do. resolution: a key of
    `tables`. An aspect asked for is looked up in `BUCKETS`, which come closer to the usual five than the avatar's own.
    Raises ValueError: an unknown name, half a size, or one that is not a multiple of 16.
    """
    if resolution not in tables:
        raise RequestError(f"resolution must be one of {', '.join(tables)}, not {resolution!r}")
    if (height is None) != (width is None):
        raise RequestError("height and width must be given together")
    if height is not None:
        if height % 16 or width % 16 or height <= 0 or width <= 0:
            raise RequestError(f"height and width must be positive multiples of 16 pixels, not {height} x {width}")
        if aspect is not None:
            raise RequestError("give either aspect or height and width")
        return height, width
    if aspect is None:
        return nearest_bucket(*picture, tables[resolution])
    return nearest_bucket(1, ratio_of(aspect), BUCKETS[resolution])


def ratio_of(aspect: str) -> Fraction:
    """Width / height. Raises ValueError."""
    if aspect not in ASPECTS:
        raise RequestError(f"aspect must be one of {', '.join(ASPECTS)}, not {aspect!r}")
    return ASPECTS[aspect]


def exact_aspect(height: int, width: int, aspect: str) -> Size:
    """The largest even size of exactly this aspect, up to rounding, inside height x width."""
    ratio = ratio_of(aspect)
    if width >= height * ratio:
        return height, min(width, 2 * round(height * ratio / 2))
    return min(height, 2 * round(width / ratio / 2)), width
