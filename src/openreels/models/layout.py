"""Where things are in a clip before any of it is drawn: layouts, and how the tokens of both towers are told of them.

A model of ten million parameters that draws a jump from noise puts the thing at a likely place in every moment, and
moments that lie side by side do not agree on it (docs/log.md). So the pocket model first says where everything goes,
subject by subject, in a few hundred numbers, and then draws what it said: dynamic scene layouts as an intermediate, as
in "LLM-grounded Video Diffusion Models" (Lian et al., 2024), with a planner that is learned too (`models/planner.py`),
and a reader that finds the layouts of what is given (`models/reader.py`). An addition to the paper's model, which has
none; a transformer without a layout embedding is the paper's.

A layout holds `layout_numbers` for each subject in each latent frame. At four moments of it: x and y of the subject's
middle (short sides of the picture, from its middle, y down), cosine and sine of its turn, how wide its mouth opens
(0..1), whether it touches something (0..1). Then whether it is there (0 or 1), its radius (short sides), and its
classes (one 1 each): what kind of thing, which colour.

Legend: B batch, S subjects, R subjects that were seen, F latent frames, M moments of one, Y X rows and columns, K
numbers, W waves, N video tokens, A audio tokens, O frames around one, T frames, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import pi

import torch
from torch import Tensor, nn

from openreels.nn.linear import ZeroLinear
from openreels.types import VideoShape

__all__ = [
    "CLASSES",
    "LAYOUT_PARTS",
    "MOMENTS",
    "MOUTH",
    "PLACE",
    "RADIUS",
    "THERE",
    "TOUCH",
    "TURN",
    "WAYS",
    "LayoutEmbedding",
    "Waves",
    "X",
    "Y",
    "amended",
    "as_long",
    "as_seen",
    "cuts",
    "heard_layout",
    "heard_numbers",
    "layout_numbers",
    "left_to_right",
    "moments",
    "nearest_numbers",
    "places",
    "quantities",
    "seen_layout",
    "seen_numbers",
    "settled",
    "shared_weights",
    "sounding",
    "subject_distance",
    "turned_numbers",
    "units",
    "waved_numbers",
]

MOMENTS = 4  # the frames of a latent frame; of the first one, which has a single frame, that one four times
X, Y, TURN, MOUTH, TOUCH = (
    slice(0, 4), slice(4, 8), slice(8, 16), slice(16, 20), slice(20, 24)
)  # fmt: skip
WAYS = 2 * MOMENTS  # the numbers that are places, and to a token ways there
THERE, RADIUS, CLASSES = 24, 25, 26
FAR = 4.0  # tokens; whatever is further away is so far
SURE = 0.6  # likelihood from which on an instruction means a subject
SAME_WAY = 0.12  # short sides: planned nearer than this to something seen, on average over the clip, is meant to be it
PLACE = 5  # numbers that say which token of which canvas it is
MOMENT = 4  # and when it is
# Short sides, and a ratio of sizes, between one moment and the next from which on a subject did not move there: it was
# cut. What is fast moves half as far, and a camera that comes nearer does so by a twelfth.
LEAP, LEAP_SIZE = 0.2, 1.2
NEARBY = range(-8, 3)  # frames that an audio token hears of, from its own: what rings was struck before
# Parts of a tower that only a model with layouts has.
LAYOUT_PARTS = (".embed_layout.", ".sketch.", ".embed_sketch.", ".trust_sketch.")


def layout_numbers(classes: Sequence[int]) -> int:
    """Of each subject in each latent frame. classes: how many there are of every sort."""
    return CLASSES + sum(classes)


def quantities(classes: Sequence[int]) -> tuple[slice, ...]:
    """The numbers that belong together. Over a whole clip they are one token of planner and reader, so that a curve is
    a matter of one linear layer and not of agreement among frames."""
    return X, Y, TURN, MOUTH, TOUCH, slice(THERE, layout_numbers(classes))


def units(classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Middle and scale of every number, (K,) each: (layout - middle) * scale has roughly unit variance."""
    middle_K, scale_K = torch.zeros(layout_numbers(classes)), torch.ones(layout_numbers(classes))
    scale_K[:WAYS], scale_K[MOUTH], scale_K[TOUCH], scale_K[CLASSES:] = 6.0, 3.0, 3.0, 3.0
    middle_K[THERE], scale_K[THERE] = 0.5, 2.0
    middle_K[RADIUS], scale_K[RADIUS] = 0.15, 10.0
    return middle_K, scale_K


def settled(layout_BSFK: Tensor, classes: Sequence[int]) -> Tensor:
    """As it must be, (B, S, F, K): subjects are there or not, of one class of each sort; turns have length 1."""
    out = layout_BSFK.clone()
    cosine, sine = out[..., TURN].chunk(2, -1)
    length = torch.hypot(cosine, sine).clamp(min=1e-6)
    out[..., TURN] = torch.cat([cosine / length, sine / length], -1)
    out[..., MOUTH.start : TOUCH.stop] = out[..., MOUTH.start : TOUCH.stop].clamp(0.0, 1.0)
    out[..., THERE] = (out[..., THERE] > 0.5).float()
    out[..., RADIUS] = out[..., RADIUS].clamp(min=0.0)
    first = CLASSES
    for count in classes:
        chosen = out[..., first : first + count].argmax(-1)
        out[..., first : first + count] = nn.functional.one_hot(chosen, count).to(out.dtype)
        first += count
    return out


def left_to_right(layout_BSFK: Tensor) -> Tensor:
    """The same subjects, ordered by where each is first seen; whoever never is comes last."""
    there_BSF = layout_BSFK[..., THERE] > 0.5
    first_BS11 = there_BSF.int().argmax(-1)[..., None, None]
    x_BS = layout_BSFK[..., :1].gather(2, first_BS11).flatten(1)
    order_BS = x_BS.where(there_BSF.any(-1), torch.inf).argsort(dim=1, stable=True)
    return layout_BSFK.gather(1, order_BS[..., None, None].expand_as(layout_BSFK))


def as_long(shown: Sequence[Tensor], frames: int) -> int:
    """How many of the layouts (B, S, F', K) that are shown beside a prompt, the last ones, are those of clips as long
    as the one to plan, of so many latent frames: what a prompt asks of such a clip mostly happens again, moment by
    moment."""
    count = 0
    while count < len(shown) and shown[-1 - count].shape[-2] == frames > 1:
        count += 1
    return count


def as_seen(planned_BSFK: Tensor, seen_BSFK: Tensor) -> Tensor:
    """Plans (B, S, F, K) of a clip of which it was seen where things are, (B, R, F, K): a subject that is planned to go
    where one was seen goes there exactly, and turns and speaks as that one does. The same shape again.

    A planner cannot copy to the pixel, and need not: half a token beside the clip that is edited, what is drawn by a
    layout and what is taken from that clip would be two pictures in one. What was heard (it has no size) is no matter
    of places, and left to the planner.
    """
    there_BSF, seen_BRF = planned_BSFK[..., THERE] > 0.5, (seen_BSFK[..., THERE] > 0.5) & (seen_BSFK[..., RADIUS] > 0)
    both_BSRF = there_BSF[:, :, None] & seen_BRF[:, None]
    away_BSRFM = torch.hypot(*(planned_BSFK[:, :, None, :, part] - seen_BSFK[:, None, :, :, part] for part in (X, Y)))
    count_BSR = both_BSRF.sum(-1)
    away_BSR = (away_BSRFM.mean(-1) * both_BSRF).sum(-1) / count_BSR
    away_BS, nearest_BS = away_BSR.where(count_BSR > 0, torch.inf).min(2)
    theirs_BSFK = seen_BSFK.gather(1, nearest_BS[..., None, None].expand(-1, -1, *seen_BSFK.shape[2:]))
    meant_BSF = both_BSRF.gather(2, nearest_BS[..., None, None].expand(-1, -1, 1, both_BSRF.shape[-1])).squeeze(2)
    meant_BSF = meant_BSF & (away_BS < SAME_WAY)[..., None]
    same_BSFK = meant_BSF[..., None].expand_as(planned_BSFK).clone()
    # Who it is remains the planner's, and what it touches, which is not read.
    same_BSFK[..., TOUCH], same_BSFK[..., THERE], same_BSFK[..., CLASSES:] = False, False, False
    return torch.where(same_BSFK, theirs_BSFK.to(planned_BSFK.dtype), planned_BSFK)


def amended(planned_BSFK: Tensor, seen_BSFK: Tensor, gone: Sequence[Tensor], new: Sequence[Tensor]) -> Tensor:
    """Plans (B, S, F, K) of clips that are edited, seen as (B, S, F, K), where an instruction says who is somebody else
    afterwards, or no more there: whoever it means changes, and everybody else stays who and where he is.

    gone, new: of every sort of classes, how likely each is of who goes and of who comes, (B, 1 + classes); "nobody"
    first. Where that is not said, or fits none of those seen, or several, a plan is left as it is. A planner that reads
    the prompt and sees them all planned 18 of 42 such clips wrongly (docs/log.md).
    """
    sizes = [each.shape[1] - 1 for each in gone]
    there_BSF = seen_BSFK[..., THERE] > 0.5
    looks_BSK = (seen_BSFK[..., CLASSES:] * there_BSF[..., None]).sum(2)
    alike_BS = torch.ones_like(looks_BSK[..., 0])
    change_BSFK = torch.where(there_BSF[..., None], seen_BSFK, torch.zeros_like(seen_BSFK))
    change_BSFK[..., TOUCH] = planned_BSFK[..., TOUCH] * (planned_BSFK[..., THERE, None] > 0.5)  # it is not seen
    other_BSFK = change_BSFK.clone()
    parts = zip(gone, new, looks_BSK.split(sizes, -1), other_BSFK[..., CLASSES:].split(sizes, -1), strict=True)
    for gone_BK, new_BK, looks_BSk, other_BSFk in parts:
        is_it_BSk = nn.functional.one_hot(looks_BSk.argmax(-1), looks_BSk.shape[-1])
        alike_BS = alike_BS * (is_it_BSk * gone_BK[:, None, 1:]).sum(-1)
        becomes_Bk = nn.functional.one_hot(new_BK[:, 1:].argmax(1), new_BK.shape[1] - 1)
        other_BSFk.copy_(becomes_Bk[:, None, None] * there_BSF[..., None])
    alike_BS = alike_BS * there_BSF.any(-1)
    first_B2 = alike_BS.topk(2, dim=1).values if alike_BS.shape[1] > 1 else nn.functional.pad(alike_BS, (0, 1))
    is_sure_B = (first_B2[:, 0] > SURE) & (first_B2[:, 1] < 1 - SURE)
    is_meant_BS = nn.functional.one_hot(alike_BS.argmax(1), alike_BS.shape[1]).bool()
    stays_B = new[0][:, 0] < 0.5  # somebody comes for who goes
    changed_BSFK = torch.where(is_meant_BS[..., None, None], other_BSFK * stays_B[:, None, None, None], change_BSFK)
    return torch.where(is_sure_B[:, None, None, None], changed_BSFK, planned_BSFK)


def sounding(layout_BSFK: Tensor) -> Tensor:
    """What can be heard of a layout, (B, S, F, K): how wide mouths open and whether something touches, of a first
    subject without a place, size, kind or colour."""
    there_BSF1 = layout_BSFK[..., THERE, None] > 0.5
    heard = slice(MOUTH.start, TOUCH.stop)
    out = torch.zeros_like(layout_BSFK)
    out[:, 0, :, heard] = (layout_BSFK[..., heard] * there_BSF1).amax(1)
    out[:, 0, :, THERE] = 1.0
    return out


def nearest_numbers(classes: Sequence[int]) -> int:
    """Of each video token, as far as they are of the nearest subject and of the token's place."""
    return layout_numbers(classes) + PLACE


def seen_numbers(classes: Sequence[int]) -> int:
    """Of each video token, see `seen_layout`."""
    return nearest_numbers(classes) + layout_numbers(classes) + MOMENT


def waved_numbers(classes: Sequence[int]) -> list[int]:
    """Which numbers of a video token are ways and places: a matter of pixels, so their sines are told too."""
    place, second = layout_numbers(classes), nearest_numbers(classes)
    share = second + layout_numbers(classes)
    return [*range(WAYS), place, place + 1, *range(second, second + WAYS), share]


def turned_numbers(classes: Sequence[int]) -> list[int]:
    """Which are turns: cosines, then as many sines, of each of the two subjects."""
    second = nearest_numbers(classes)
    return [first + number for first in (0, second) for number in range(TURN.start, TURN.stop)]


def heard_numbers(classes: Sequence[int]) -> int:
    """Of each audio token, see `heard_layout`."""
    return 2 * len(NEARBY) + sum(classes)


def shared_weights(theirs: Mapping[str, Sequence[int]], ours: Mapping[str, Sequence[int]]) -> list[str]:
    """Names of the weights that two transformers share, of which one may have a layout embedding and the other none.

    theirs, ours: shapes by name. Raises ValueError where they differ otherwise.
    """
    names = [name for name in theirs if name in ours]
    other = [name for name in {*theirs} ^ {*ours} if not any(part in name for part in LAYOUT_PARTS)]
    other += [name for name in names if tuple(theirs[name]) != tuple(ours[name])]
    if other:
        raise ValueError(f"{min(other)} is not the same in both models ({len(other)} differences)")
    return names


def seen_layout(layout_BSFK: Tensor, shape: VideoShape) -> Tensor:
    """What every video token is told, (B, N, K' + 1): the numbers of the subject nearest to it, whose places are ways
    there from the token's middle, in tokens; zeros where nobody is. Then where the token is (`places`), and the next
    nearest subject, for where two meet a token shows both; and when it is (`moments`). Last a 1: it is told."""
    row_Y, column_X, token = _middles(shape, layout_BSFK.device)
    each_BSFYXK = layout_BSFK[:, :, :, None, None].expand(-1, -1, -1, len(row_Y), len(column_X), -1)
    right_BSFYXM = (each_BSFYXK[..., X] - column_X[:, None]) / token
    down_BSFYXM = (each_BSFYXK[..., Y] - row_Y[:, None, None]) / token
    distance_BSFYX = torch.hypot(right_BSFYXM.mean(-1), down_BSFYXM.mean(-1))
    beyond_BSFYX = (distance_BSFYX - each_BSFYXK[..., RADIUS] / token).where(each_BSFYXK[..., THERE] > 0.5, torch.inf)
    ways = [way_BSFYXM.clamp(-FAR, FAR) for way_BSFYXM in (right_BSFYXM, down_BSFYXM)]
    each_BSFYXK = torch.cat([*ways, each_BSFYXK[..., WAYS:]], dim=-1)
    each_BSFYXK = each_BSFYXK * (each_BSFYXK[..., THERE, None] > 0.5)
    order_BSFYX = beyond_BSFYX.argsort(dim=1, stable=True)
    nearest_BFYXK = _of_one(each_BSFYXK, order_BSFYX[:, 0])
    subjects = layout_BSFK.shape[1]
    next_BFYXK = _of_one(each_BSFYXK, order_BSFYX[:, 1]) if subjects > 1 else torch.zeros_like(nearest_BFYXK)
    place_BFYXK = places(shape, layout_BSFK.device).expand(len(layout_BSFK), -1, -1, -1, -1)
    when_BFYXK = moments(layout_BSFK)[:, :, None, None].expand(-1, -1, len(row_Y), len(column_X), -1)
    return _marked(torch.cat([nearest_BFYXK, place_BFYXK, next_BFYXK, when_BFYXK], dim=-1).flatten(1, 3))


def moments(layout_BSFK: Tensor) -> Tensor:
    """When every latent frame is, (B, F, `MOMENT`): share of the clip (-1..1), latent frames from its start in
    eighths; cuts before it, and to come. What a camera or an effect has done by then, and which shot it is, follows."""
    batch, frames = len(layout_BSFK), layout_BSFK.shape[2]
    frame_F = torch.arange(frames, device=layout_BSFK.device, dtype=torch.float32)
    share_F = 2 * frame_F / max(frames - 1, 1) - 1
    so_far_BF = cuts(layout_BSFK).cumsum(1).float()
    to_come_BF = so_far_BF[:, -1:] - so_far_BF
    when_F2 = torch.stack([share_F, frame_F / 8], -1)
    return torch.cat([when_F2.expand(batch, -1, -1), so_far_BF[..., None], to_come_BF[..., None]], -1)


def cuts(layout_BSFK: Tensor) -> Tensor:
    """Whether a shot begins with a latent frame, (B, F), bool: somebody leaps, is of another size or somebody
    else, or is suddenly in the middle of the picture, or no longer there."""
    there_BSF = layout_BSFK[..., THERE] > 0.5
    before, after = layout_BSFK[:, :, :-1], layout_BSFK[:, :, 1:]
    both_BSE = there_BSF[..., :-1] & there_BSF[..., 1:]
    away_BSE = torch.hypot(*(after[..., part.start] - before[..., part.stop - 1] for part in (X, Y)))
    radii_BSE2 = torch.stack([before[..., RADIUS], after[..., RADIUS]], -1).clamp(min=1e-3)
    size_BSE = radii_BSE2.amax(-1) / radii_BSE2.amin(-1)
    other_BSE = (before[..., CLASSES:] - after[..., CLASSES:]).abs().amax(-1) > 0.5
    leaps_BSE = both_BSE & ((away_BSE > LEAP) | (size_BSE > LEAP_SIZE) | other_BSE)
    seen = torch.where(there_BSF[..., :-1, None], before, after)
    reach_BSE = torch.maximum(seen[..., X].abs().amax(-1), seen[..., Y].abs().amax(-1)) + seen[..., RADIUS]
    sudden_BSE = (there_BSF[..., :-1] != there_BSF[..., 1:]) & (reach_BSE < 0.5)
    return nn.functional.pad((leaps_BSE | sudden_BSE).any(1), (1, 0))


def subject_distance(told_BNK: Tensor) -> Tensor:
    """How far every video token's middle is from that of the subject it is told of, (B, N), tokens; infinite where
    nobody is."""
    away_BN = torch.hypot(told_BNK[..., X].mean(-1), told_BNK[..., Y].mean(-1))
    return away_BN.where(told_BNK[..., THERE] > 0.5, torch.inf)


def places(shape: VideoShape, device: torch.device | None = None) -> Tensor:
    """Where every token is, (F, Y, X, `PLACE`): column and row (shares of half the canvas, -1..1), width and height of
    the canvas (short sides), 1 in the first frame, which is a single one."""
    row_Y, column_X, token = _middles(shape, device)
    width, height = shape.latent_width * token, shape.latent_height * token
    first_F = torch.arange(shape.latent_frames, device=device) == 0
    numbers = [2 * column_X / width, 2 * row_Y[:, None] / height, width, height, first_F[:, None, None]]
    sizes = shape.latent_frames, shape.latent_height, shape.latent_width
    return torch.stack([torch.as_tensor(each, device=device).float().expand(sizes) for each in numbers], -1)


def _middles(shape: VideoShape, device: torch.device | None) -> tuple[Tensor, Tensor, float]:
    """Of the tokens' rows (Y,) and columns (X,), and the size of a token; short sides, from the picture's middle."""
    token = shape.height / shape.latent_height / min(shape.height, shape.width)
    sizes = shape.latent_height, shape.latent_width
    row_Y, column_X = ((torch.arange(n, device=device) + 0.5 - n / 2) * token for n in sizes)
    return row_Y, column_X, token


def heard_layout(layout_BSFK: Tensor, tokens: int) -> Tensor:
    """What every audio token is told, (B, A, K' + 1): mouth and touch, at the frames around its moment, of the subject
    that has most to be heard of there, and that subject's classes. Last a 1: it is told."""
    subjects_BSFK = layout_BSFK * (layout_BSFK[..., THERE, None] > 0.5)
    events_BSFM2 = torch.stack([subjects_BSFK[..., MOUTH], subjects_BSFK[..., TOUCH]], dim=-1)
    events_BST2 = torch.cat([events_BSFM2[:, :, 0, -1:], events_BSFM2[:, :, 1:].flatten(2, 3)], dim=2)
    frames, device = events_BST2.shape[2], layout_BSFK.device
    middle_A = ((torch.arange(tokens, device=device) + 0.5) * frames / tokens - 0.5).round().long()
    near_AO = (middle_A[:, None] + torch.tensor(NEARBY, device=device)).clamp(0, frames - 1)
    near_BSAO2 = events_BST2[:, :, near_AO]
    latent_A = (middle_A.clamp(0, frames - 1) + MOMENTS - 1) // MOMENTS
    each_BSAK = torch.cat([near_BSAO2.flatten(3), subjects_BSFK[:, :, latent_A, CLASSES:]], dim=-1)
    return _marked(_of_one(each_BSAK, near_BSAO2.sum((-1, -2)).argmax(1)))


def _of_one(each_BSXK: Tensor, index_BX: Tensor) -> Tensor:
    """The numbers of one subject at every place X, of any axes."""
    index_B1X1 = index_BX[:, None, ..., None]
    return each_BSXK.gather(1, index_B1X1.expand(*index_B1X1.shape[:-1], each_BSXK.shape[-1])).squeeze(1)


def _marked(told_BNK: Tensor) -> Tensor:
    return nn.functional.pad(told_BNK, (0, 1), value=1.0)


class Waves(nn.Module):
    """Numbers (..., K) -> the same, and sines and cosines of some of them, (..., K + W).

    waved: which. octaves: the longest wave is 2. turned: which numbers are turns already, `MOMENTS` cosines and as many
    sines, again and again; of these, cosines and sines of 2 to `harmonics` times the angle.
    """

    def __init__(
        self,
        numbers: int,
        waved: Sequence[int] = (),
        octaves: int = 3,
        turned: Sequence[int] = (),
        harmonics: int = 1,
    ):
        super().__init__()
        self.waved, self.octaves, self.turned, self.harmonics = [*waved], octaves, [*turned], harmonics
        self.out_features = numbers + 2 * octaves * len(self.waved) + (harmonics - 1) * len(self.turned)

    def forward(self, numbers_BNK: Tensor) -> Tensor:
        phases = [pi * 2.0**octave * numbers_BNK[..., self.waved] for octave in range(self.octaves)]
        waves = [wave for phase in phases for wave in (phase.sin(), phase.cos())]
        if self.turned:
            turns_BNRM = numbers_BNK[..., self.turned].unflatten(-1, (-1, MOMENTS))
            cosine, sine = turns_BNRM[..., 0::2, :], turns_BNRM[..., 1::2, :]
            # Of what is not there both are 0, and stay so: powers of a complex number.
            again = cosine, sine
            for _ in range(self.harmonics - 1):
                again = again[0] * cosine - again[1] * sine, again[0] * sine + again[1] * cosine
                waves += [part.flatten(-2) for part in again]
        return torch.cat([numbers_BNK, *waves], dim=-1)


class LayoutEmbedding(nn.Module):
    """What tokens are told (B, N, K + 1) -> (B, N, D): nothing at first, and nothing where the last number is 0.

    numbers, waved: how many of the first are looked at, and those of which sines go in too.
    """

    def __init__(self, numbers: int, dim: int, waved: Sequence[int] = ()):
        super().__init__()
        self.numbers = numbers
        self.waves = Waves(numbers, waved)
        entering = nn.Linear(self.waves.out_features, dim)
        self.mlp = nn.Sequential(entering, nn.SiLU(), nn.Linear(dim, dim), nn.SiLU(), ZeroLinear(dim, dim))

    def forward(self, layout_BNK: Tensor) -> Tensor:
        dtype = self.mlp[0].weight.dtype
        return self.mlp(self.waves(layout_BNK[..., : self.numbers]).to(dtype)) * layout_BNK[..., -1:].to(dtype)
