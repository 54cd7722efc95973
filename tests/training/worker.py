"""A small task for the training loop, and what tests run in processes of their own.

python worker.py stage WORKDIR STEPS     the tiny plan's joint stage, a checkpoint after every step
python worker.py pair WORKDIR RANK       one of two processes that train `Regression` together
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from openreels.recipes.pocket import tiny_plan
from openreels.training import latents
from openreels.training.loop import LoopConfig, Task, run
from openreels.training.plan import load_components, load_latents, load_parts
from openreels.training.stages import Stage, StageTask

SHARD = 6  # clips of a shard in these tests


class Regression(Task):
    """Fits a line to 8 fixed points with noise from the step's generator; rank r of n sees every n-th point."""

    name = "regression"

    def __init__(self, noise: float = 0.1, rank: int = 0, processes: int = 1):
        torch.manual_seed(0)
        self.model = nn.Linear(3, 2)
        self.modules = {"line": self.model}
        self.optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(self.model.parameters(), lr=0.05)]
        self.noise, self.points = noise, slice(rank, None, processes)
        self.rates: list[float] = []
        self.weights: list[Tensor] = []

    @property
    def samples_per_step(self) -> int:
        return 8

    def loss(self, drawn: tuple[int, torch.Generator]) -> tuple[Tensor, dict[str, float]]:
        _, generator = drawn
        self.rates.append(self.optimizers[0].param_groups[0]["lr"])
        self.weights.append(self.model.weight.detach().clone())
        x = torch.linspace(-1, 1, 24).reshape(8, 3)
        y = (x @ torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]]) + x.square()[:, :2])[self.points]
        x = x[self.points] + self.noise * torch.randn(len(y), 3, generator=generator)
        error = (self.model(x) - y).square().mean()
        return error, {"error": error.item()}


class AheadRegression(Regression):
    """The same with its noise drawn before the loss."""

    def draw(self, step: int, generator: torch.Generator) -> Tensor:
        return self.noise * torch.randn(8, 3, generator=generator)

    def loss(self, drawn: Tensor) -> tuple[Tensor, dict[str, float]]:
        x = torch.linspace(-1, 1, 24).reshape(8, 3)
        error = (self.model(x + drawn) - x[:, :2].square()).square().mean()
        return error, {"error": error.item()}


def stage_task(workdir: Path, stage: Stage) -> StageTask:
    """A stage of the tiny plan over what is in `workdir`, as `training.plan` builds it."""
    plan = tiny_plan()
    codecs, encoder = load_components(workdir)
    torch.manual_seed(0)
    model = plan.transformer(codecs.video.vae.config.latent_channels, codecs.audio.latent_channels, encoder.width)
    load_parts(model, stage, workdir)
    return StageTask(stage, model, encoder, load_latents([stage], workdir, codecs, seed=0))


def run_joint(workdir: Path, steps: int) -> None:
    joint = next(stage for stage in tiny_plan().stages if stage.name == "joint")
    run(stage_task(workdir, joint), LoopConfig(workdir, steps=steps, checkpoint_minutes=0, log_every=1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    kind, folder, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if kind == "stage":
        latents.SHARD = SHARD
        run_joint(folder, number)
    else:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=number, world_size=2)
        run(Regression(noise=0.0, rank=number, processes=2), LoopConfig(folder, steps=10, warmup=0.2))
        dist.destroy_process_group()
