"""Placements of a plan as a table and as facts, whatever the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from openreels.hardware import Estimate, Gpu

__all__ = ["placement_facts", "show_placements"]

GB = 1e9


def show_placements(found: Iterable[Estimate], pick: Estimate | None, chosen_gpu: Gpu, limit: float) -> None:
    print()
    print(f"  {'placement':<32}{'VRAM GB':>9}{'RAM GB':>9}{'seconds':>10}  fits")
    for each in found:
        mark = "*" if each is pick else " "
        memory = f"{each.peak_vram / GB:>9.1f}{max(each.ram, each.ram_loading) / GB:>9.1f}"
        verdict = "yes" if each.fits(chosen_gpu, limit) else "no"
        print(f"{mark} {each.placement.name:<32}{memory}{each.total_seconds:>10.0f}  {verdict}")
    print()
    if pick is None:
        print(f"Nothing fits: {advice(found, chosen_gpu)}.")
    else:
        parts = ", ".join(f"{what} {seconds:.0f}" for what, seconds in pick.seconds.items())
        print(f"Pick: {pick.placement.name}; about {pick.total_seconds:.0f} s ({parts}).")
    print("Memory is counted, seconds are estimated from data sheets; loading is not included.")


def advice(found: Iterable[Estimate], gpu: Gpu) -> str:
    least = min(each.peak_vram for each in found)
    if least > gpu.memory:
        return f"the least is {least / GB:.1f} GB of VRAM; a lower resolution or a shorter duration takes less"
    least = min(max(each.ram, each.ram_loading) for each in found if each.peak_vram <= gpu.memory)
    return f"what fits the GPU takes {least / GB:.1f} GB of RAM"


def placement_facts(each: Estimate, gpu: Gpu, limit: float) -> dict[str, Any]:
    return {
        "name": each.placement.name,
        **asdict(each.placement),
        "vram": {phase: round(size) for phase, size in each.vram.items()},
        "peak_vram": round(each.peak_vram),
        "ram_loading": round(each.ram_loading),
        "ram": round(each.ram),
        "estimated_seconds": {what: round(seconds, 2) for what, seconds in each.seconds.items()},
        "estimated_total_seconds": round(each.total_seconds, 2),
        "fits": each.fits(gpu, limit),
    }
