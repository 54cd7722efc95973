"""What the tests of sharded training run in processes of their own, all in one visit: starting them costs most."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing

from openreels.models.context_parallel import ContextParallel, Method
from openreels.models.layout import heard_numbers, seen_numbers
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.tasks.states import audio_positions, audio_state, video_state
from openreels.training.sharded.layout import Layout, distributed
from openreels.training.sharded.lora import add_lora, lora_config
from openreels.training.sharded.samples import Batch, Sample, Target, UniformTimes, collate
from openreels.training.sharded.sharding import export_adapter, export_weights, freeze, shard
from openreels.training.sharded.trainer import ShardedTrainer, TrainerConfig, video_listens
from openreels.training.stages import OnPath
from openreels.types import AudioShape, Context, VideoShape

VIDEO, AUDIO = VideoShape(5, 48, 32, 16, 2, 3, 2, 4), AudioShape(5_000, 16_000, 5, 6)


def tiny_transformer(**changes: Any) -> SkyReelsV4Transformer:
    """Width 64 in four heads, one layer of each kind, every weight away from its zero start."""
    sizes = {
        "video_channels": 4,
        "audio_channels": 6,
        "text_dim": 12,
        "num_heads": 4,
        "rope_axis_dims": (4, 6, 6),
        "num_dual_layers": 1,
        "num_single_layers": 1,
        "mlp_ratio": 2.0,
        "modulation_rank": 8,
        "time_bias_slope": 1.0,
    }
    torch.manual_seed(0)
    model = SkyReelsV4Transformer(**(sizes | changes))
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def random_sample(seed: int, streams: tuple[str, ...] = ("video", "audio"), references: int = 3) -> Sample:
    """Latents, prompt and references drawn from a seed; the length of the prompt varies."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    context = Context(normal(1, 3 + seed % 4, 12), torch.ones(1, 3 + seed % 4, dtype=torch.bool))
    mask_1N1 = (torch.rand(1, VIDEO.tokens, 1, generator=draw) < 0.3).float()
    data = {"video": normal(1, VIDEO.tokens, 4), "audio": normal(1, AUDIO.tokens, 6)}
    video = replace(
        video_state(VIDEO, 1),
        mask_BN1=mask_1N1,
        given_BNC=data["video"] * mask_1N1,
        reference_BRC=normal(1, references, 4),
        reference_positions_RP=torch.tensor([[-1.0, 0.0, float(i)] for i in range(references)]).reshape(-1, 3),
    )
    audio = audio_state(AUDIO, VIDEO.latent_frames, 1)
    if references:
        audio = replace(audio, reference_BRC=normal(1, 2, 6), reference_positions_RP=audio_positions(2, 1) - 1)
    blanks = {"video": video, "audio": audio}
    return Sample(context, *(Target(blanks[n], data[n]) if n in streams else None for n in ("video", "audio")))


class RandomSource:
    """Fresh random samples; every third step is of video alone."""

    def __init__(self, micro_batch: int):
        self.size = micro_batch

    def micro_batch(self, step: int, number: int) -> list[Sample]:
        first = step * 4 + number * self.size
        streams = ("video",) if step % 3 == 2 else ("video", "audio")
        return [random_sample(7 * (first + i), streams) for i in range(self.size)]


def config(folder: Path, name: str, **changes: Any) -> TrainerConfig:
    """Four clips a step in micro-batches of one, at a rate at which a wrong gradient shows within two steps."""
    settings = {"steps": 4, "batch": 4, "micro_batch": 1, "learning_rate": 3e-3, "seed": 5, "ema_decay": 0.5}
    times = UniformTimes(clean_video=0.3, clean_audio=0.3)
    return TrainerConfig(**({"workdir": folder, "name": name, "times": times, "log_every": 1} | settings | changes))


def trained(settings: TrainerConfig, context: int = 1, dtype: torch.dtype | None = None) -> dict[str, Any]:
    """Losses and weights of a run on all processes of the default group; the averages go to a folder."""
    layout = Layout.of("cpu", context)
    listens = video_listens(settings.learns)
    model = shard(
        tiny_transformer,
        layout,
        "cpu",
        dtype=dtype,
        prepare=lambda model: freeze(model, settings.learns, listens),
    )
    trainer = ShardedTrainer(model, RandomSource(settings.micro_batch), settings, layout)
    losses = trainer.run()
    weights = {name: p.detach().full_tensor().clone() for name, p in model.named_parameters()}
    trainer.ema.swap()
    export_weights(model, layout, settings.workdir / f"{settings.name}-weights", torch.float32)
    return {"losses": losses, "weights": weights}


def one_batch(references: int) -> Batch:
    """Two clips; the streams of the second see half of each other."""
    samples = [random_sample(seed, references=references) for seed in (1, 2)]
    batch = collate(samples, UniformTimes(), 0.0, [torch.Generator().manual_seed(seed) for seed in (0, 3)])
    return batch._replace(tie_B=torch.tensor([1.0, 0.5]))


def velocities_and_gradients(
    model: SkyReelsV4Transformer, batch: Batch, streams: tuple[str, ...]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Of a loss that weighs every number of the output differently."""
    model.zero_grad()
    states = (getattr(batch, name).state if name in streams else None for name in ("video", "audio"))
    velocities = [v for v in model(*states, batch.context, batch.tie_B if len(streams) == 2 else None) if v is not None]
    sum((v * torch.linspace(-1, 1, v.numel()).view_as(v) + v.square()).sum() for v in velocities).backward()
    return [v.detach() for v in velocities], {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def told(path: OnPath, numbers: int) -> OnPath:
    """With a layout, in which nobody is there in the second half."""
    torch.manual_seed(7)
    layout_BNK = torch.randn(*path.state.noisy_BNC.shape[:2], numbers)
    layout_BNK[:, layout_BNK.shape[1] // 2 :] = 0.0
    return path._replace(state=replace(path.state, layout_BNK=torch.nn.functional.pad(layout_BNK, (0, 1), value=1.0)))


def context_errors(
    method: Method, streams: tuple[str, ...], references: int, time_bias: float | None
) -> tuple[float, float]:
    """How far velocities and averaged gradients are from those of one process, as a share of the largest."""
    model, batch = tiny_transformer(time_bias_slope=time_bias, layout_classes=(2, 3)), one_batch(references)
    video, audio = told(batch.video, seen_numbers((2, 3))), told(batch.audio, heard_numbers((2, 3)))
    batch = batch._replace(video=video, audio=audio)
    alone, gradients_alone = velocities_and_gradients(model, batch, streams)
    parallel = ContextParallel(model, dist.group.WORLD, method)
    together, gradients = velocities_and_gradients(model, batch, streams)
    parallel.remove()
    assert gradients.keys() == gradients_alone.keys()
    for gradient in gradients.values():
        dist.all_reduce(gradient)
        gradient /= dist.get_world_size()
    largest = max(float(g.abs().max()) for g in gradients_alone.values())
    forward = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(alone, together, strict=True))
    return forward, max(float((gradients_alone[n] - g).abs().max()) for n, g in gradients.items()) / largest


BOTH = ("video", "audio")
CONTEXT_CASES = {
    "gather": ("gather", BOTH, 3, 1.0),
    "ulysses": ("ulysses", BOTH, 3, None),
    "auto, time bias, no references": ("auto", BOTH, 0, 1.0),
    "video alone": ("auto", ("video",), 3, None),
    "audio alone": ("auto", ("audio",), 0, None),
}


def two_processes(folder: Path) -> dict[str, Any]:
    """All that is tested on two processes."""
    results: dict[str, Any] = {"context": {name: context_errors(*case) for name, case in CONTEXT_CASES.items()}}
    results["data"] = trained(config(folder, "data", steps=2))
    results["context training"] = trained(config(folder, "context", steps=3, micro_batch=2), context=2)
    results["frozen"] = trained(config(folder, "frozen", steps=2, learns=("audio", "cross"), background_saving=True))
    results["bfloat16"] = trained(config(folder, "data", workdir=folder / "half", steps=2), dtype=torch.bfloat16)
    results["adapter"] = adapter_trained(folder)
    return results


def four_processes(folder: Path) -> dict[str, Any]:
    """On four: context parallelism, and a training that two processes began."""
    cases = {name: CONTEXT_CASES[name] for name in ("gather", "ulysses")}
    results: dict[str, Any] = {"context": {name: context_errors(*case) for name, case in cases.items()}}
    results["resumed"] = trained(config(folder, "data", steps=4), context=2)
    return results


def adapter_trained(folder: Path) -> dict[str, Tensor]:
    """Names and values of all weights after two steps of LoRA on the audio branch; the adapter is left in a folder."""
    layout, settings = Layout.of("cpu"), config(folder, "adapter", steps=2)
    adapter = lora_config(tiny_transformer(), rank=2, branches=("audio", "cross"))
    model = shard(tiny_transformer, layout, "cpu", prepare=lambda model: add_lora(model, adapter))
    ShardedTrainer(model, RandomSource(1), settings, layout).run()
    export_adapter(model, layout, folder / "adapter-weights", adapter)
    return {name: p.detach().full_tensor().clone() for name, p in model.named_parameters()}


def _child(rank: int, job: Callable, processes: int, store: str, folder: Path, arguments: tuple) -> None:
    torch.set_num_threads(1)
    with distributed("cpu", rank=rank, processes=processes, store=store):
        result = job(*arguments)
        if dist.get_rank() == 0:
            torch.save(result, folder / "result.pt")


def in_processes(job: Callable, processes: int, folder: Path, *arguments: Any) -> Any:
    """What the first of `processes` processes that run `job` together returns.

    They are forked from a server that has imported everything once: seconds instead of half a minute.
    """
    meet = folder / f"meet-{os.urandom(4).hex()}"
    multiprocessing.set_forkserver_preload(["sharded_jobs"])
    multiprocessing.start_processes(
        _child,
        (job, processes, f"file://{meet}", folder, arguments),
        nprocs=processes,
        start_method="forkserver",
    )
    return torch.load(folder / "result.pt", weights_only=False)
