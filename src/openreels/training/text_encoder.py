"""Pretraining of the pocket text encoder: read a caption, say what the scene holds.

The encoder must turn paraphrases and two languages into the same facts before the generator needs them; here that is
plain classification of the scene's attributes from its caption. The heads are thrown away afterwards.

Legend: B batch, L text tokens, D width, S attribute slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from openreels.encoders.text import TextEncoder, new_text_encoder, train_tokenizer
from openreels.media.folders import new_folder
from openreels.nn.precision import autocast
from openreels.training.checkpoint import load_checkpoint
from openreels.training.loop import LoopConfig, Task, run
from openreels.training.optimizers import muon_and_adamw
from openreels.world import (
    BACKGROUNDS,
    COLOURS,
    FACES,
    MATERIALS,
    MOODS,
    MOTIONS,
    SHAPES,
    VOICES,
    Scene,
    Subject,
    random_caption,
    sample_scene,
)
from openreels.world.examples import ROWS, sample_example

__all__ = [
    "AttributeHeads",
    "TextEncoderTask",
    "motion_name",
    "scene_attributes",
    "slot_losses",
    "train_text_encoder",
]

CAPTIONS = 20_000  # of which the tokenizer is made
NONE = "none"
NUMBERS = ("first", "second")
DIRECTED = tuple(f"{kind} {way}" for kind in ("slide", "roll", "collide") for way in ("left", "right"))
SUBJECT_SLOTS = {
    "side": (NONE, "left", "right"),
    "kind": (NONE, *SHAPES, *FACES),
    "colour": (NONE, *COLOURS),
    "size": (NONE, "small", "large"),
    "material": (NONE, *MATERIALS),
    "motion": (NONE, *(kind for kind in MOTIONS if kind not in ("slide", "roll", "collide")), *DIRECTED),
    "voice": (NONE, *VOICES),
}
SLOTS: dict[str, tuple[str, ...]] = {
    "background": BACKGROUNDS,
    "night": ("day", "night"),
    "music": (NONE, *MOODS),
    **{f"{number} {slot}": values for number in NUMBERS for slot, values in SUBJECT_SLOTS.items()},
}
SHARED_SLOTS = len(SLOTS) - 2 * len(SUBJECT_SLOTS)


def scene_attributes(scene: Scene) -> list[int]:
    """The class of every slot of `SLOTS`, in its order."""
    found = {
        "background": scene.background,
        "night": "night" if scene.night else "day",
        "music": scene.melody.mood if scene.melody else NONE,
    }
    sides = ("left", "right") if len(scene.subjects) == 2 else (NONE,)
    for number, subject, side in zip(NUMBERS, (*scene.subjects, None), (*sides, NONE), strict=False):
        facts = dict.fromkeys(SUBJECT_SLOTS, NONE)
        if subject is not None:
            facts = {
                "side": side,
                "kind": subject.kind,
                "colour": subject.colour,
                "size": subject.size,
                "material": subject.material or NONE,
                "motion": motion_name(subject),
                "voice": subject.speech.voice if subject.speech else NONE,
            }
        found |= {f"{number} {slot}": value for slot, value in facts.items()}
    return [values.index(found[slot]) for slot, values in SLOTS.items()]


def motion_name(subject: Subject, mirrored: bool = False) -> str:
    """How a subject moves, of the values of the slot "motion". mirrored: as a camera from behind sees it."""
    motion = subject.motion
    if motion.kind not in ("slide", "roll", "collide"):
        return motion.kind
    return f"{motion.kind} {'right' if (motion.distance > 0) != mirrored else 'left'}"


class AttributeHeads(nn.Module):
    """One attention pool and one linear classifier per slot."""

    def __init__(self, width: int):
        super().__init__()
        self.score = nn.Linear(width, len(SLOTS))
        self.classify = nn.ModuleList(nn.Linear(width, len(values)) for values in SLOTS.values())

    def forward(self, hidden_BLD: Tensor, mask_BL: Tensor) -> list[Tensor]:
        score_BLS = self.score(hidden_BLD).masked_fill(~mask_BL[..., None], -1e4)
        pooled_BSD = score_BLS.softmax(dim=1).transpose(1, 2) @ hidden_BLD
        return [head(pooled_BSD[:, slot]) for slot, head in enumerate(self.classify)]


def slot_losses(logits: list[Tensor], target_BS: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and correctness (B, S) under the better assignment of the two subjects."""
    own = len(SUBJECT_SLOTS)
    swapped_BS = torch.cat(
        [target_BS[:, :SHARED_SLOTS], target_BS[:, SHARED_SLOTS + own :], target_BS[:, SHARED_SLOTS:-own]], dim=1
    )
    losses, rights = [], []
    for target in (target_BS, swapped_BS):
        pairs = list(zip(logits, target.unbind(1), strict=True))
        losses.append(torch.stack([nn.functional.cross_entropy(x, t, reduction="none") for x, t in pairs], dim=1))
        rights.append(torch.stack([(x.argmax(-1) == t).float() for x, t in pairs], dim=1))
    swap_B1 = (losses[1].sum(1) < losses[0].sum(1))[:, None]
    return torch.where(swap_B1, losses[1], losses[0]), torch.where(swap_B1, rights[1], rights[0])


class TextEncoderTask(Task):
    """Cross-entropy over the slots, on fresh captions at every step; every second one has two subjects.

    Captions name two subjects in either order, so which of them is "first" is the encoder's choice: the loss takes the
    better of both assignments. What must be learned is which colour, motion and material belong together.
    """

    name = "text_encoder"

    def __init__(self, encoder: TextEncoder, seed: int = 0, batch: int = 128, lr: float = 2e-3, muon_lr: float = 0.02):
        self.encoder, self.seed, self.batch = encoder, seed, batch
        self.heads = AttributeHeads(encoder.width).to(encoder.model.device)
        self.modules = {"encoder": encoder.model, "heads": self.heads}
        self.optimizers = muon_and_adamw(self.modules.values(), muon_lr=muon_lr, adamw_lr=lr)

    @property
    def samples_per_step(self) -> int:
        return self.batch

    def loss(self, drawn: tuple[int, torch.Generator]) -> tuple[Tensor, dict[str, float | Tensor]]:
        _, generator = drawn
        seeds = torch.randint(2**40, (4 * self.batch,), generator=generator).tolist()
        drawn = [(seed, sample_scene(seed, duration=2.0)) for seed in seeds]
        pairs = [item for item in drawn if len(item[1].subjects) == 2][: self.batch // 2]
        singles = [item for item in drawn if len(item[1].subjects) == 1][: self.batch - len(pairs)]
        seeds, scenes = zip(*pairs, *singles, strict=True)
        with autocast(self.encoder.model.device):
            context = self.encoder([random_caption(scene, seed) for seed, scene in zip(seeds, scenes, strict=True)])
        target_BS = torch.tensor([scene_attributes(scene) for scene in scenes], device=context.hidden_BLD.device)
        loss_BS, right_BS = slot_losses(self.heads(context.hidden_BLD, context.mask_BL), target_BS)
        names = list(SLOTS)
        shown = {slot: float(right_BS[:, names.index(f"first {slot}")].mean()) for slot in ("kind", "colour", "motion")}
        return loss_BS.mean(), shown


def trained_heads(workdir: Path, width: int) -> AttributeHeads:
    """The heads as pretraining left them; fresh ones where its checkpoint is gone."""
    heads = AttributeHeads(width)
    state = load_checkpoint(workdir / "text_encoder.pt")
    if state is not None:
        found = {key.removeprefix("heads."): value for key, value in state["ema"].items() if key.startswith("heads.")}
        heads.load_state_dict(found)
    return heads


def corpus(seed: int) -> Iterator[str]:
    """What the tokenizer learns its words from: captions of scenes, and what is asked for in every row of the task
    table."""
    for number in range(CAPTIONS):
        yield random_caption(sample_scene(seed + number, duration=2.0), number)
    for row in ROWS:
        for number in range(CAPTIONS // 200):
            yield sample_example(row, seed + number).prompt


def train_text_encoder(
    workdir: Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> TextEncoder:
    """Train (or go on training) and save `tokenizer` and `text_encoder` to `workdir`."""
    folder = workdir / "tokenizer"
    if not folder.is_dir():
        with new_folder(folder) as part:
            train_tokenizer(corpus(seed)).save_pretrained(part)
    torch.manual_seed(seed)
    encoder = new_text_encoder(PreTrainedTokenizerFast.from_pretrained(folder))
    encoder.model.to(device)
    run(
        TextEncoderTask(encoder, seed),
        LoopConfig(workdir=workdir, seed=seed, minutes=minutes, steps=steps, device=device),
    )
    encoder.model.eval()
    encoder.save_pretrained(workdir)
    return encoder
