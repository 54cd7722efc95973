"""Training of the layout planner: read a prompt, see what is shown besides, say where everything will be.

Nothing is rendered for it, so every case is a new one. It reads what the text encoder says when all stages are over,
and is therefore trained last.

Legend: B batch, P prompts, S subjects, F latent frames, N all of their places in a layout, K numbers at each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor

from openreels.codecs.video import VideoCodec
from openreels.encoders.text import TextEncoder
from openreels.flow.path import interpolate
from openreels.media.folders import replaced_folder
from openreels.models.layout import RADIUS, THERE, TOUCH, WAYS, X, Y, as_long, left_to_right
from openreels.models.planner import LayoutPlanner
from openreels.nn.attention import written_out
from openreels.nn.precision import autocast
from openreels.training.briefs import BRIEF_NUMBERS
from openreels.training.latents import Bucket, clip_seed, example_of, moment_of, plain_film, scene_of
from openreels.training.layouts import LAYOUT_CLASSES, SUBJECTS, followed_layouts, layout_of, shown_layouts
from openreels.training.loop import LoopConfig, Task, run
from openreels.training.optimizers import muon_and_adamw
from openreels.types import VideoShape
from openreels.world import Film, random_caption
from openreels.world.examples import ROWS, Reference

__all__ = ["PlannerTask", "new_planner", "planned_rows", "train_planner"]

BATCH, COPIES = 96, 4  # cases of a step, and how often each is noised
SHARPEST = 0.3  # 1 - t, from which on the error counts no more
ROW_SHARE, EMPTY_SHARE = 0.6, 0.05  # of steps on cases of the task table; of prompts that say nothing
BEGUN_SHARE = 0.5  # of steps on cases with a sound given, that on those with their first frame too
READ_ERROR = 0.02  # short sides: what is shown will be read by a network
DEAF = 0.4  # share of steps on instructions in which these are heard by their brief alone
INSTRUCTED = ("editing", "inpainting")  # groups of rows
LEFT = ("on the left", "左边")
SEEDS = 2**22  # cases of every kind of clip, so that none comes twice


def new_planner(text_dim: int) -> LayoutPlanner:
    """Of the pocket's sizes, untrained. text_dim: width of the text encoder's hidden states."""
    return LayoutPlanner(text_dim, LAYOUT_CLASSES, SUBJECTS, brief_numbers=BRIEF_NUMBERS)


def planned_rows(still: bool) -> tuple[str, ...]:
    """Rows of the task table whose results are clips; or those whose results are stills, or can be."""
    rows = (row for row in ROWS.values() if row.has_picture)
    return tuple(row.name for row in rows if row.still == still or (still and row.name.startswith("references")))


class Drawn(NamedTuple):
    """What a step works on: P prompts, the layouts of each picture and clip shown beside them and how many of these are
    followed, whether only what the brief says of the prompts is heard, so that it is gone by; and, `COPIES` for each,
    layouts with noise and times."""

    aspect: float
    prompts: list[str]
    shown: list[Tensor]
    followed: int
    is_deaf: bool
    layout_BSFK: Tensor
    noise_BSFK: Tensor
    time_B: Tensor


class Case(NamedTuple):
    """A prompt, its layout (S, F, K), those of what is shown beside it (S, F', K) each, and how many of these are
    followed: of what is known of the clip itself, and of clips as long as it."""

    prompt: str
    layout_SFK: Tensor
    shown: list[Tensor]
    followed: int


class PlannerTask(Task):
    """Flow matching over layouts: the squared error of where they are seen to end, which weighs more near the end.

    kinds: of clips, and how often each is drawn; to those of 33 frames and to stills the rows are added. rows: how
    often some of these are drawn, against the others.
    """

    name = "planner"

    def __init__(
        self,
        planner: LayoutPlanner,
        encoder: TextEncoder,
        codec: VideoCodec,
        kinds: Mapping[Bucket, float],
        rows: Mapping[str, float] | None = None,
        muon_lr: float = 0.01,
        adamw_lr: float = 1e-3,
    ):
        self.planner, self.encoder, self.codec = planner, encoder, codec
        self.modules = {"planner": planner}
        encoder.model.requires_grad_(False)
        self.optimizers = muon_and_adamw(self.modules.values(), muon_lr=muon_lr, adamw_lr=adamw_lr)
        self.plain, self.weights = list(kinds), torch.tensor(list(kinds.values()))
        self.rows = [
            replace(bucket, row=row) for bucket in kinds if bucket.frames in (1, 33)
            for row in planned_rows(still=bucket.frames == 1)
        ]  # fmt: skip
        self.row_weights = torch.tensor([(rows or {}).get(bucket.row, 1.0) for bucket in self.rows])

    @property
    def samples_per_step(self) -> int:
        return BATCH * COPIES

    def draw(self, step: int, generator: torch.Generator) -> Drawn:
        if self.rows and float(torch.rand((), generator=generator)) < ROW_SHARE:
            bucket = self.rows[int(torch.multinomial(self.row_weights, 1, generator=generator))]
        else:
            bucket = self.plain[int(torch.multinomial(self.weights, 1, generator=generator))]
        shape = self.codec.shape(bucket.frames, bucket.height, bucket.width, Fraction(16))
        numbers = torch.randint(SEEDS, (BATCH,), generator=generator).tolist()
        empty = (torch.rand(BATCH, generator=generator) < EMPTY_SHARE).tolist()
        # A sound may be given alone, or beside the first frame (a talking avatar).
        begun = float(torch.rand((), generator=generator)) < BEGUN_SHARE
        cases = [case(bucket, number, shape, begun) for number in numbers]
        prompts, layouts, shown, (followed, *_) = zip(*cases, strict=True)
        layout_BSFK = torch.stack(layouts).repeat_interleave(COPIES, 0)
        count = len(layout_BSFK)
        # A batch covers all times, the noisy ones more densely: there it is decided what happens.
        even_B = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
        noise_BSFK = torch.randn(layout_BSFK.shape, generator=generator)
        told = ["" if dropped else prompt for prompt, dropped in zip(prompts, empty, strict=True)]
        read = [torch.stack(same) for same in zip(*shown, strict=True)]
        for layout_PSFK in read:
            error_PSFK = torch.randn(layout_PSFK[..., :WAYS].shape, generator=generator) * READ_ERROR
            layout_PSFK[..., :WAYS] += error_PSFK * layout_PSFK[..., THERE, None]
            layout_PSFK[..., TOUCH] *= layout_PSFK[..., RADIUS, None] == 0  # as `LayoutReader.read` has it
        is_deaf = float(torch.rand((), generator=generator)) < DEAF
        is_deaf = is_deaf and bucket.row is not None and ROWS[bucket.row].group in INSTRUCTED
        return Drawn(shape.width / shape.height, told, read, followed, is_deaf, layout_BSFK, noise_BSFK, even_B**1.5)

    def loss(self, drawn: Drawn) -> tuple[Tensor, dict[str, float | Tensor]]:
        device = self.planner.device
        layout_BSFK, noise_BSFK, time_B = (each.to(device) for each in drawn[-3:])
        context = self.encoder.encode(drawn.prompts, device)
        if drawn.is_deaf and context.brief_BK is not None:
            context = context.briefly()
        data_BSFK = self.planner.normalised(layout_BSFK)
        with autocast(device), written_out(device):
            noisy_BNK = interpolate(data_BSFK.flatten(1, 2), noise_BSFK.flatten(1, 2), time_B)
            shown = [layout_PSFK.to(device) for layout_PSFK in drawn.shown]
            noisy_BSFK = noisy_BNK.view_as(data_BSFK)
            found_BSFK = self.planner(noisy_BSFK, time_B, drawn.aspect, context, shown, drawn.followed)
        error_B = (found_BSFK.float() - data_BSFK).square().mean((1, 2, 3))
        loss = (error_B / (1 - time_B).clamp(min=SHARPEST) ** 2).mean()
        return loss, {"early": error_B[time_B < 0.2].detach().mean(), "late": error_B[time_B > 0.8].detach().mean()}


def case(bucket: Bucket, number: int, shape: VideoShape, begun: bool = False) -> Case:
    """Case `number` of its kind. shape: of the video. begun: where a sound is given, the first frame is, too."""
    seed = clip_seed(0, bucket, SEEDS + number)  # not those whose latents are kept
    if bucket.row is not None:
        example = example_of(bucket, seed)
        if begun and example.given == "sound":
            example = replace(example, kept=((0.0, float(1 / shape.fps)),))
        layout_SFK, shown = layout_of(example.target, shape), shown_layouts(example, shape)
        followed = followed_layouts(example, shape)
        is_seen = example.source is not None or example.given == "picture" or example.kept
        shown_alike = as_long(shown[: len(shown) - len(followed)], shape.latent_frames)
        # Everybody stands as in what is followed: an instruction need not name them all.
        if is_seen and followed[0].any():
            layout_SFK = in_places_of(followed[0], layout_SFK)
        elif any(_shows_all(reference) for reference in example.references):
            layout_SFK = left_to_right(layout_SFK[None])[0]
        else:
            layout_SFK = in_order_of(example.prompt, example.target, layout_SFK)
        return Case(example.prompt, layout_SFK, shown, shown_alike + len(followed))
    scene = scene_of(bucket, seed)
    prompt, film = random_caption(scene, number), plain_film(scene, moment_of(bucket, number))
    return Case(prompt, in_order_of(prompt, film, layout_of(film, shape)), [], 0)


def _shows_all(reference: Reference) -> bool:
    """Whether it is of a whole clip, or of the shots of one: then no prompt says who is who."""
    return reference.kind == "video" or len(reference.films) > 1


def in_order_of(prompt: str, film: Film, layout_SFK: Tensor) -> Tensor:
    """A layout whose subjects stand in the order in which a prompt names them, so that who is who is no guess: as in
    the script, but the left one first where sides are told."""
    if len(film.shots) > 1 or not any(word in prompt.lower() for word in LEFT):
        return layout_SFK
    if not (layout_SFK[..., THERE] > 0.5).any(1).all():
        return layout_SFK
    return left_to_right(layout_SFK[None])[0]


def in_places_of(seen_SFK: Tensor, layout_SFK: Tensor) -> Tensor:
    """A layout whose subjects have the numbers of those that were seen where they are: who is taken away leaves his
    number empty, and who is added gets one that is."""
    layout_SFK = left_to_right(layout_SFK[None])[0]
    orders = [list(order) for order in permutations(range(len(layout_SFK)))]
    away = [_way_between(seen_SFK, layout_SFK[order]) for order in orders]
    return layout_SFK[orders[away.index(min(away))]]


def _way_between(one_SFK: Tensor, other_SFK: Tensor) -> float:
    """How far apart subjects of the same number are, on average over time, summed up; short sides, one where only one
    of them is there."""
    there_SF, also_SF = one_SFK[..., THERE] > 0.5, other_SFK[..., THERE] > 0.5
    away_SF = torch.hypot(*((one_SFK[..., part] - other_SFK[..., part]).mean(-1) for part in (X, Y)))
    away_SF = torch.where(there_SF & also_SF, away_SF, (there_SF | also_SF).float())
    return float(away_SF.mean(1).sum())


def train_planner(
    codec: VideoCodec,
    encoder: TextEncoder,
    kinds: Mapping[Bucket, float],
    rows: Mapping[str, float],
    config: LoopConfig,
) -> LayoutPlanner:
    """Train (or go on training, with what was brought there) and save `planner` to the work folder."""
    torch.manual_seed(config.seed)
    folder = config.workdir / "planner"
    planner = LayoutPlanner.from_pretrained(folder) if folder.is_dir() else new_planner(encoder.width)
    planner.to(config.device)
    encoder.model.to(config.device)
    run(PlannerTask(planner, encoder, codec, kinds, rows), config)
    planner.register_to_config(reads=encoder.fingerprint)
    with replaced_folder(folder) as part:
        planner.save_pretrained(part)
    return planner
