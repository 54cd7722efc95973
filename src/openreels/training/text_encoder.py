"""Pretraining of the pocket text encoder: read a caption, say what the scene holds.

The encoder must turn paraphrases and two languages into the same facts before the generator needs them; here that is
plain classification of the scene's attributes from its caption. The heads are thrown away afterwards.

Legend: B batch, L text tokens, D width, S attribute slots.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from openreels.encoders.text import TextEncoder, new_text_encoder, train_tokenizer
from openreels.training.loop import LoopConfig, run
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
    random_caption,
    sample_scene,
)

__all__ = ["AttributeHeads", "TextEncoderTask", "scene_attributes", "train_text_encoder"]

NONE = "none"
DIRECTED = tuple(f"{kind} {way}" for kind in ("slide", "roll", "collide") for way in ("left", "right"))
SUBJECT_SLOTS = {
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
    **{f"{side} {slot}": values for side in ("first", "second") for slot, values in SUBJECT_SLOTS.items()},
}


def scene_attributes(scene: Scene) -> list[int]:
    """The class of every slot of `SLOTS`, subjects from left to right."""
    found = {
        "background": scene.background,
        "night": "night" if scene.night else "day",
        "music": scene.melody.mood if scene.melody else NONE,
    }
    subjects = sorted(scene.subjects, key=lambda subject: subject.motion.x)
    for side, subject in zip(("first", "second"), (*subjects, None, None), strict=False):
        facts = dict.fromkeys(SUBJECT_SLOTS, NONE)
        if subject is not None:
            motion = subject.motion
            directed = motion.kind in ("slide", "roll", "collide")
            facts = {
                "kind": subject.kind,
                "colour": subject.colour,
                "size": subject.size,
                "material": subject.material or NONE,
                "motion": f"{motion.kind} {'right' if motion.distance > 0 else 'left'}" if directed else motion.kind,
                "voice": subject.speech.voice if subject.speech else NONE,
            }
        found |= {f"{side} {slot}": value for slot, value in facts.items()}
    return [values.index(found[slot]) for slot, values in SLOTS.items()]


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


class TextEncoderTask:
    """Mean cross-entropy over the slots on fresh captions at every step."""

    name = "text_encoder"

    def __init__(self, encoder: TextEncoder, seed: int = 0, batch: int = 128, lr: float = 2e-3, muon_lr: float = 0.02):
        self.encoder, self.seed, self.batch = encoder, seed, batch
        self.heads = AttributeHeads(encoder.width)
        self.modules = {"encoder": encoder.model, "heads": self.heads}
        self.optimizers = muon_and_adamw(self.modules.values(), muon_lr=muon_lr, adamw_lr=lr)

    @property
    def samples_per_step(self) -> int:
        return self.batch

    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        seeds = torch.randint(2**40, (self.batch,), generator=generator).tolist()
        scenes = [sample_scene(s, duration=2.0) for s in seeds]
        with torch.autocast(self.encoder.model.device.type, torch.bfloat16):
            context = self.encoder([random_caption(scene, s) for scene, s in zip(scenes, seeds, strict=True)])
        target_BS = torch.tensor([scene_attributes(scene) for scene in scenes])
        logits = self.heads(context.hidden_BLD, context.mask_BL)
        losses = [nn.functional.cross_entropy(x, target_BS[:, s]) for s, x in enumerate(logits)]
        right_S = torch.stack([(x.argmax(-1) == target_BS[:, s]).float().mean() for s, x in enumerate(logits)])
        names = list(SLOTS)
        shown = {slot: float(right_S[names.index(f"first {slot}")]) for slot in ("kind", "colour", "motion")}
        return torch.stack(losses).mean(), shown


def train_text_encoder(
    workdir: Path, *, minutes: float | None = None, steps: int | None = None, seed: int = 0, captions: int = 20_000
) -> TextEncoder:
    """Train (or go on training) and save `tokenizer` and `text_encoder` to `workdir`."""
    corpus = (random_caption(sample_scene(seed + s, duration=2.0), s) for s in range(captions))
    torch.manual_seed(seed)
    encoder = new_text_encoder(train_tokenizer(corpus))
    run(TextEncoderTask(encoder, seed), LoopConfig(workdir=workdir, seed=seed, minutes=minutes, steps=steps))
    encoder.model.eval()
    encoder.save_pretrained(workdir)
    return encoder
