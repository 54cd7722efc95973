"""`openreels plan` for the presets of V4: a request on a GPU, or the paper's training schedule on many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from openreels.cli.placements import placement_facts, show_placements
from openreels.cli.terminal import show_facts, show_json

if TYPE_CHECKING:
    from openreels.hardware import Gpu
    from openreels.recipes.costs import Costs
    from openreels.recipes.request_plan import Job
    from openreels.recipes.training_plan import PhaseCost, Training

__all__ = ["PRESETS", "plan_request", "plan_training"]

PRESETS = ("full", "full-hv1", "mid")
GB = 1e9
STEPS, BRANCHES = 30, 3


def plan_request(
    name: str,
    gpu: str,
    resolution: str,
    duration: float,
    aspect: str,
    steps: int | None,
    guidance: bool,
    ram: float | None,
    as_json: bool,
) -> None:
    """guidance: with negative prompt and cross-modal guidance, three branches instead of one. Raises ValueError."""
    from openreels.hardware import GPUS, choose
    from openreels.recipes.costs import ASSUMPTIONS, costs_of
    from openreels.recipes.request_plan import Job, estimates

    costs = costs_of(name)
    job = Job.of(costs, resolution.lower(), duration, aspect, steps or STEPS, BRANCHES if guidance else 1)
    limit = float("inf") if ram is None else ram * GB
    found = estimates(job, GPUS[gpu], limit)
    pick = choose(found, GPUS[gpu], limit)
    if as_json:
        facts = request_facts(job) | {"placements": [placement_facts(each, GPUS[gpu], limit) for each in found]}
        facts["pick"] = None if pick is None else placement_facts(pick, GPUS[gpu], limit)
        show_json(facts | {"assumptions": dict(ASSUMPTIONS)})
        return
    flops = job.transformer_flops
    show_facts(
        {
            "model": name,
            "parameters": parts(costs),
            "result": f"{job.frames} frames of {job.width} x {job.height} at {costs.preset.fps} fps",
            "tokens": f"{job.size.video:,} of video, {job.size.audio:,} of sound, {job.size.text:,} of text",
            "FLOPs": f"transformer {flops:.3g} ({flops / job.steps:.3g} a step of {job.branches} branches), "
            f"codec {job.decoding(False).flops:.3g}",
            "activations": f"{job.forward_bytes / GB:.1f} GB in the transformer, "
            f"{job.decoding(False).peak / GB:.1f} GB in the codec ({job.decoding(True).peak / GB:.1f} tiled)",
            "gpu": f"{gpu}: {GPUS[gpu].name}, {GPUS[gpu].memory / GB:.0f} GB",
        }
    )
    show_placements(found, pick, GPUS[gpu], limit)


def request_facts(job: Job) -> dict[str, Any]:
    return {
        "model": job.costs.preset.name,
        "parameters": job.costs.parameters,
        "size": [job.width, job.height],
        "frames": job.frames,
        "fps": job.costs.preset.fps,
        "tokens": {"video": job.size.video, "audio": job.size.audio, "text": job.size.text},
        "steps": job.steps,
        "branches": job.branches,
        "flops": {"transformer": job.transformer_flops, "codec": job.decoding(False).flops},
        "forward_bytes": job.forward_bytes,
    }


def plan_training(name: str, gpu: str, gpus: int, context: int, clips: int, price: float, as_json: bool) -> None:
    """All phases of the paper's schedule. Raises ValueError."""
    from openreels.hardware import GPUS
    from openreels.recipes.costs import ASSUMPTIONS, costs_of
    from openreels.recipes.training_plan import Training, phase_costs

    training = Training(GPUS[gpu], gpus, context, clips, price)
    costs = costs_of(name)
    found = phase_costs(costs, training)
    if as_json:
        phases = [phase_facts(each, GPUS[gpu]) for each in found]
        show_json(
            {"model": name, "parameters": costs.parameters, "gpus": gpus, "gpu": gpu, "context": context}
            | {"phases": phases, "days": sum(each.days for each in found), "price": sum(each.price for each in found)}
            | {"assumptions": dict(ASSUMPTIONS)}
        )
        return
    show_facts(
        {
            "model": name,
            "parameters": parts(costs),
            "on": f"{gpus} x {GPUS[gpu].name}, {context} to a clip, micro-batches of {clips}",
        }
    )
    print()
    show_phases(found, training, ASSUMPTIONS)


def phase_facts(each: PhaseCost, gpu: Gpu) -> dict[str, Any]:
    return {
        "name": each.phase.name,
        "samples": each.samples,
        "steps": each.steps,
        "flops": each.flops,
        "largest_tokens": each.tokens,
        "memory": {what: round(size) for what, size in each.memory.items()},
        "peak": round(each.peak),
        "fits": each.peak <= gpu.memory,
        "days": round(each.days, 3),
        "price": round(each.price),
    }


def show_phases(found: Sequence[PhaseCost], training: Training, assumptions: Mapping[str, float]) -> None:
    print(f"  {'phase':<10}{'samples':>10}{'tokens':>10}{'FLOPs':>10}{'GB a GPU':>10}  fits{'days':>9}{'price':>14}")
    for each in found:
        verdict = "yes" if each.peak <= training.gpu.memory else "no"
        numbers = f"{each.samples:>10.3g}{each.tokens:>10,}{each.flops:>10.2g}{each.peak / GB:>10.1f}"
        print(f"  {each.phase.name:<10}{numbers}  {verdict:<4}{each.days:>9.1f}{each.price:>14,.0f}")
    days, price = sum(each.days for each in found), sum(each.price for each in found)
    print(f"  {'in all':<10}{'':>46}{days:>9.1f}{price:>14,.0f}")
    print()
    print(
        f"Counted: samples (the paper's), tokens of the largest clip, FLOPs of forward and backward, memory with "
        f"checkpointed layers.\nAssumed: {assumptions['transformer_share_of_peak']:.0%} of the data sheet's peak, "
        f"{assumptions['text_tokens']} text tokens, 16:9, every resolution as often, {training.price:g} a GPU hour; "
        "latents and hidden states\nof prompts are computed beforehand. Batches are ours (recipes/v4_phases.py)."
    )


def parts(costs: Costs) -> str:
    each = ", ".join(f"{part} {count / 1e9:.4f} B" for part, count in costs.parameters.items())
    return f"{costs.total_parameters / 1e9:.4f} B ({each})"
