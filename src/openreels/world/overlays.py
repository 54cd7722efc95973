"""What is burnt into the picture: a large see-through word (watermark), a line of text (subtitle), a badge (logo).

Drawn in fine points, 64 per short side, in a typeface of 3 x 5 of them. Legend: H, W pixels  P, Q points of a text.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from openreels.world import shapes
from openreels.world.screen import FINE, Screen
from openreels.world.script import Overlay

__all__ = ["burn_in", "written"]

# Five rows of three points each; a row is an octal digit whose bits are its points.
_LETTERS = (
    "A25755 B65656 C34443 D65556 E74647 F74644 G34553 H55755 I72227 J11152 K55655 L44447 M57755 N65555 "
    "O25552 P65644 Q25573 R65655 S34216 T72222 U55557 V55552 W55775 X55255 Y55222 Z71247"
)
_TYPEFACE = {
    letter: [[int(row) >> 2 & 1, int(row) >> 1 & 1, int(row) & 1] for row in rows]
    for letter, *rows in (*_LETTERS.split(), " 00000")
}
_WORDS = (
    *("DEMO", "REEL", "OPEN", "SHOT", "CLIP", "FILM", "TEST", "FREE"),
    *("MOVE", "STAR", "TAKE", "COPY", "VIEW", "PLAY", "LIVE", "IDEA"),
)
_LINES = (
    *("HELLO THERE", "LOOK AT THAT", "WHAT IS THIS", "HERE WE GO", "WAIT FOR ME", "NOT AGAIN", "SO MUCH FUN"),
    *("SEE YOU SOON", "ON THE MOVE", "VERY NICE", "ONE MORE TIME", "HOW ABOUT IT", "GOOD MORNING", "MIND THE GAP"),
    *("AND THEN WHAT", "OVER HERE"),
)
_LETTERS_OF_BADGES = ("R", "E", "O", "X")  # one of each form
_BADGES = ((214, 34, 52), (22, 92, 200), (18, 140, 84), (150, 40, 190))
WATERMARK_COVER, WATERMARK_EDGE = 0.62, 0.34
LETTER = 2  # points of the typeface's strokes in a watermark
BADGE = 7.0  # half size of a logo, points
MARGIN = 3  # points between an overlay and the border


def _text(words: str) -> tuple[Tensor, Tensor]:
    """A line of text and its edge, bool (P, Q), with one free point all round."""
    rows = [[point for letter in words for point in (*_TYPEFACE[letter][row], 0)][:-1] for row in range(5)]
    ink = pad(torch.tensor(rows, dtype=torch.float32), (1, 1, 1, 1))
    near = max_pool2d(ink[None], 3, stride=1, padding=1)[0]
    return ink > 0, (near > 0) & (ink == 0)


def _lookup(drawing: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The drawing (P, Q) at points x (W,), y (H, 1) from its top left; False outside."""
    column, row = x.floor().long(), y.floor().long()
    inside = (column >= 0) & (column < drawing.shape[1]) & (row >= 0) & (row < drawing.shape[0])
    return drawing[row.clamp(0, drawing.shape[0] - 1), column.clamp(0, drawing.shape[1] - 1)] & inside


def _place(corner: str, width: float, height: float, screen: Screen) -> tuple[float, float]:
    """Top left of something of this size (points) in a corner of the safe window."""
    rows, columns = (round(side * FINE / screen.unit) for side in (screen.safe_height, screen.safe_width))
    row, column = corner.split()
    return (
        MARGIN if column == "left" else columns - MARGIN - width,
        MARGIN if row == "top" else rows - MARGIN - height,
    )


def written(overlay: Overlay) -> str:
    """The words or the letter that it shows."""
    texts = {"watermark": _WORDS, "subtitle": _LINES, "logo": _LETTERS_OF_BADGES}[overlay.kind]
    return texts[overlay.variant % len(texts)]


def _watermark(overlay: Overlay, screen: Screen) -> tuple[Tensor, Tensor]:
    ink, edge = _text(written(overlay))
    left, top = _place(overlay.corner, ink.shape[1] * LETTER, ink.shape[0] * LETTER, screen)
    x, y = screen.points("cpu")
    x, y = (x - left) / LETTER, (y - top) / LETTER
    light, dark = _lookup(ink, x, y), _lookup(edge, x, y)
    return (light * 255.0).expand(3, -1, -1), light * WATERMARK_COVER + dark * WATERMARK_EDGE


def _subtitle(overlay: Overlay, screen: Screen) -> tuple[Tensor, Tensor]:
    ink, edge = _text(written(overlay))
    rows, columns = (round(side * FINE / screen.unit) for side in (screen.safe_height, screen.safe_width))
    x, y = screen.points("cpu")
    x, y = x - (columns - ink.shape[1]) // 2, y - (rows - MARGIN - ink.shape[0])
    light, dark = _lookup(ink, x, y), _lookup(edge, x, y)
    return (light * 255.0).expand(3, -1, -1), light * 1.0 + dark * 0.9


def _logo(overlay: Overlay, screen: Screen) -> tuple[Tensor, Tensor]:
    left, top = _place(overlay.corner, 2 * BADGE, 2 * BADGE, screen)
    x, y = screen.points("cpu")
    u, v = x - left - BADGE, y - top - BADGE
    form, paint = overlay.variant % 4, overlay.variant // 4 % 4
    if form == 0:
        distance = shapes.circle(u, v, BADGE)
    elif form == 1:
        distance = shapes.box(u, v, BADGE, BADGE, 2.0)
    elif form == 2:
        distance = (u.abs() + v.abs() - 1.3 * BADGE) * 0.7
    else:
        distance = torch.maximum(shapes.circle(u, v + 0.35 * BADGE, 1.35 * BADGE), shapes.box(u, v, BADGE, BADGE, 1.0))
    px = screen.unit / FINE
    letter, _ = _text(written(overlay))
    colour = torch.tensor(_BADGES[paint], dtype=torch.float32)[:, None, None]
    border = ((distance + 1.4) * px + 0.5).clamp(0.0, 1.0)
    colour = colour + (255.0 - colour) * border
    colour = torch.where(_lookup(letter, u + 2.5, v + 3.5), 255.0, colour)
    return colour, (0.5 - distance * px).clamp(0.0, 1.0)


_DRAWINGS = {"watermark": _watermark, "subtitle": _subtitle, "logo": _logo}


@lru_cache(maxsize=256)
def _drawn(overlay: Overlay, screen: Screen) -> tuple[slice, slice, Tensor, Tensor]:
    """Rows and columns that it lies in, there its colours (3, 1, H, W) in 0..255 and how much it covers (H, W)."""
    planes, cover = _DRAWINGS[overlay.kind](overlay, screen)
    (rows,), (columns,) = cover.any(1).nonzero(as_tuple=True), cover.any(0).nonzero(as_tuple=True)
    rows, columns = (slice(int(each.min()), int(each.max()) + 1) for each in (rows, columns))
    return rows, columns, planes[:, None, rows, columns].clone(), cover[rows, columns].clone()


def burn_in(planes_3THW: Tensor, overlay: Overlay, screen: Screen) -> Tensor:
    """The picture (float, 0..255) under an overlay; changes it in place and returns it."""
    rows, columns, colours, cover = _drawn(overlay, screen)
    under = planes_3THW[..., rows, columns]
    colours, cover = colours.to(under.device), cover.to(under.device)
    planes_3THW[..., rows, columns] = under + (colours - under) * cover
    return planes_3THW
