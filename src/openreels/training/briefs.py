"""What prompts ask for, as the world knows it: what `encoders/brief.py` learns to say.

Nothing is rendered: a case of the task table is a script. Where a prompt does not say a thing, how likely each
answer is becomes what it is in the world.

Legend: B batch, L text tokens, D width of the text, J questions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openreels.encoders.brief import Brief
from openreels.encoders.text import TextEncoder
from openreels.media.folders import replaced_folder
from openreels.nn.precision import autocast
from openreels.training.layouts import COLOUR_NAMES, KINDS
from openreels.training.loop import LoopConfig, Task, run
from openreels.training.optimizers import muon_and_adamw
from openreels.world import (
    ACCESSORIES,
    BACKGROUNDS,
    CAMERA_MOVES,
    CUTS,
    EFFECTS,
    PATTERNS,
    STYLES,
    TONES,
    WEATHERS,
    Film,
    Scene,
    Subject,
    random_caption,
    sample_scene,
)
from openreels.world.examples import ROWS, sample_example

__all__ = ["BRIEF_NUMBERS", "QUESTIONS", "BriefTask", "answers_of", "new_brief", "prompt_and_answers", "train_brief"]

NOTHING = None
QUESTIONS: dict[str, tuple] = {
    "place": BACKGROUNDS,
    "last place": BACKGROUNDS,
    "night": (False, True),
    "weather": WEATHERS,
    "style": STYLES,
    "tone": TONES,
    "effect": (NOTHING, *EFFECTS),
    "move": (NOTHING, *CAMERA_MOVES),
    "cut": (NOTHING, *CUTS),
    # Of an edit: how somebody was who is so no more, and how somebody is who was not.
    "gone kind": (NOTHING, *KINDS),
    "gone colour": (NOTHING, *COLOUR_NAMES),
    "new kind": (NOTHING, *KINDS),
    "new colour": (NOTHING, *COLOUR_NAMES),
    "new pattern": (NOTHING, *PATTERNS),
    "new accessory": (NOTHING, *ACCESSORIES),
}
ANSWERS = tuple(map(len, QUESTIONS.values()))
BRIEF_NUMBERS = sum(ANSWERS)
# Rows of these groups say most of this, and count so much more.
SAYING, SAYING_WEIGHT = ("editing", "inpainting", "shots", "extension"), 3.0
PLAIN_SHARE = 0.2  # of prompts that are captions of plain clips
PROMPTS = 2**15  # of which a step draws `BATCH`; what the text encoder says of one is kept
BATCH = 256


def prompt_and_answers(number: int) -> tuple[str, list[int]]:
    """Prompt `number`, and the index of the true answer to each of `QUESTIONS`."""
    generator = torch.Generator().manual_seed(number)
    seed = int(torch.randint(2**40, (), generator=generator))
    if float(torch.rand((), generator=generator)) < PLAIN_SHARE:
        scene = sample_scene(seed, duration=2.0)
        return random_caption(scene, seed), answers_of(scene, scene)
    rows = [row for row in ROWS.values() if row.has_picture]
    weights = torch.tensor([SAYING_WEIGHT if row.group in SAYING else 1.0 for row in rows])
    example = sample_example(rows[int(weights.multinomial(1, generator=generator))].name, seed)
    shots = example.target.shots
    return example.prompt, answers_of(shots[0].scene, shots[-1].scene, example.target, example.source)


def answers_of(first: Scene, last: Scene, film: Film | None = None, source: Film | None = None) -> list[int]:
    """The index of the answer to each of `QUESTIONS`. first, last: scenes of a film, where there is one. source: what
    it was made from."""
    shot = film.shots[0] if film else None
    gone, new = _changed(source.shots[0].scene if source else first, first)
    true = {
        "place": first.background,
        "last place": last.background,
        "night": first.night,
        "weather": first.weather,
        "style": first.style,
        "tone": first.tone,
        "effect": first.effect,
        "move": shot.move.kind if shot and shot.move else NOTHING,
        "cut": film.cuts[0] if film and film.cuts else NOTHING,
        **{f"gone {what}": getattr(gone, what, NOTHING) for what in ("kind", "colour")},
        **{f"new {what}": getattr(new, what, NOTHING) for what in ("kind", "colour", "pattern", "accessory")},
    }
    return [answers.index(true[question]) for question, answers in QUESTIONS.items()]


def _changed(before: Scene, after: Scene) -> tuple[Subject | None, Subject | None]:
    """The subject that is there before and not after, and the other way round, of the first that differ."""
    gone = [subject for subject in before.subjects if subject not in after.subjects]
    new = [subject for subject in after.subjects if subject not in before.subjects]
    return next(iter(gone), None), next(iter(new), None)


class BriefTask(Task):
    """Cross-entropy of the answers."""

    name = "brief"

    def __init__(self, brief: Brief, encoder: TextEncoder, muon_lr: float = 0.02, adamw_lr: float = 0.005):
        self.brief, self.encoder = brief, encoder
        self.modules = {"brief": brief}
        encoder.model.requires_grad_(False)
        self.optimizers = muon_and_adamw(self.modules.values(), muon_lr=muon_lr, adamw_lr=adamw_lr)
        self.read: dict[
            int, tuple[Tensor, Tensor]
        ] = {}  # number of a prompt -> states (L, D) in bfloat16, answers (J,)

    @property
    def samples_per_step(self) -> int:
        return BATCH

    def draw(self, step: int, generator: torch.Generator) -> list[int]:
        return torch.randint(PROMPTS, (BATCH,), generator=generator).tolist()

    def loss(self, drawn: list[int]) -> tuple[Tensor, dict[str, float | Tensor]]:
        self._read(sorted({*drawn} - {*self.read}))
        device = self.brief.device
        states, answers = zip(*(self.read[number] for number in drawn), strict=True)
        hidden_BLD = nn.utils.rnn.pad_sequence(list(states), batch_first=True).to(device).float()
        length_B1 = torch.tensor([len(each) for each in states], device=device)[:, None]
        mask_BL = torch.arange(hidden_BLD.shape[1], device=device) < length_B1
        true_BJ = torch.stack(answers).to(device)
        with autocast(device):
            logits = self.brief(hidden_BLD, mask_BL)
        pairs = list(zip(logits, true_BJ.unbind(1), strict=True))
        loss = torch.stack([nn.functional.cross_entropy(said.float(), true_B) for said, true_B in pairs]).mean()
        right_J = [(said.argmax(-1) == true_B).float().mean() for said, true_B in pairs]
        return loss, dict(zip(QUESTIONS, right_J, strict=True))

    @torch.no_grad()
    def _read(self, numbers: list[int]) -> None:
        for start in range(0, len(numbers), BATCH):
            some = numbers[start : start + BATCH]
            prompts, answers = zip(*map(prompt_and_answers, some), strict=True)
            context = self.encoder.encode(prompts, self.brief.device)
            for row, number in enumerate(some):
                states_LD = context.hidden_BLD[row, context.mask_BL[row]].bfloat16().cpu()
                self.read[number] = states_LD, torch.tensor(answers[row])


def new_brief(text_dim: int) -> Brief:
    """Untrained. text_dim: width of the text encoder's hidden states."""
    return Brief(text_dim, ANSWERS, tuple(QUESTIONS))


def train_brief(encoder: TextEncoder, config: LoopConfig) -> Brief:
    """Train (or go on training, with what was brought there) and save `brief` to the work folder."""
    torch.manual_seed(config.seed)
    folder = config.workdir / "brief"
    brief = Brief.from_pretrained(folder) if folder.is_dir() else new_brief(encoder.width)
    brief.to(config.device)
    encoder.model.to(config.device)
    run(BriefTask(brief, encoder), config)
    brief.register_to_config(reads=encoder.fingerprint)
    with replaced_folder(folder) as part:
        brief.save_pretrained(part)
    return brief
