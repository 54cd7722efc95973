"""`openreels plan MODEL`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openreels.cli.placements import placement_facts, show_placements
from openreels.cli.terminal import number_above_zero, typed_flags, whole_number

if TYPE_CHECKING:
    from openreels.hardware import Estimate, Gpu
    from openreels.pipelines.v3.planning import Job, Model

app = typer.Typer()

GB = 1e9

# Options that only some plans listen to.
OF_TRAINING = ("gpus", "context", "clips", "price")
OF_REQUESTS = ("resolution", "duration", "aspect", "steps", "guidance", "ram")
OF_V3 = ("references", "speakers", "new_shot", "official")


@app.command()
def plan(
    typed: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="r2v, v2v, v2v-shot, a2v, the hub id or the folder of one; full, full-hv1, mid, pocket.",
        ),
    ],
    gpu: Annotated[
        str, typer.Option(metavar="4090|5090|A100-40|A100-80|H100|H200|B200", help="On which GPU.")
    ] = "4090",
    resolution: Annotated[str, typer.Option(metavar="480P|540P|720P", help="Which sizes.")] = "720P",
    duration: Annotated[
        float, typer.Option(metavar="SECONDS", parser=number_above_zero, help="How much is made; of sound, for a2v.")
    ] = 5.0,
    aspect: Annotated[str, typer.Option(metavar="16:9|4:3|1:1|3:4|9:16", help="Width to height.")] = "16:9",
    steps: Annotated[
        int | None, typer.Option(metavar="N", parser=whole_number(1, 1000), help="(default: the model's)")
    ] = None,
    guidance: Annotated[bool, typer.Option("--guidance", help="With a guidance scale other than 1.")] = False,
    references: Annotated[
        int, typer.Option(metavar="N", parser=whole_number(1, 4), help="Reference pictures, of r2v.")
    ] = 1,
    speakers: Annotated[int, typer.Option(metavar="N", parser=whole_number(1, 8), help="Who speaks, of a2v.")] = 1,
    new_shot: Annotated[bool, typer.Option("--new-shot", help="Of an extension: a new shot instead of more.")] = False,
    ram: Annotated[
        float | None, typer.Option(metavar="GB", parser=number_above_zero, help="Of the machine. (default: enough)")
    ] = None,
    train: Annotated[
        bool,
        typer.Option("--train", help="The paper's schedule of training instead; of full, full-hv1, mid."),
    ] = False,
    gpus: Annotated[int, typer.Option(metavar="N", parser=whole_number(1, 10**6), help="With --train.")] = 64,
    context: Annotated[
        int, typer.Option(metavar="N", parser=whole_number(1, 1024), help="With --train: GPUs that share a clip.")
    ] = 1,
    clips: Annotated[
        int, typer.Option(metavar="N", parser=whole_number(1, 1024), help="With --train: in a micro-batch.")
    ] = 1,
    price: Annotated[
        float, typer.Option(metavar="P", parser=number_above_zero, help="With --train: of a GPU hour.")
    ] = 2.0,
    official: Annotated[bool, typer.Option("--official", help="As the release plans its passes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Say what a request takes on a GPU and where to place its networks, or what training takes; loads nothing."""
    from openreels.cli.plan_v4 import PRESETS, plan_request, plan_training
    from openreels.cli.terminal import show_json
    from openreels.hardware import ASSUMPTIONS, GPUS, choose
    from openreels.pipelines.v3 import planning
    from openreels.request import RequestError, shown

    if gpu not in GPUS:
        raise RequestError(f"--gpu must be one of {', '.join(GPUS)}, not {shown(gpu)}")
    if train and model not in PRESETS:
        raise RequestError(f"--train is for {', '.join(PRESETS)}, not for {shown(model)}")
    if train:
        refuse(typed, (*OF_REQUESTS, *OF_V3), "a plan of training")
    elif model in PRESETS or model == "pocket":
        refuse(typed, (*OF_TRAINING, *OF_V3), f"a request to {model}")
    else:
        refuse(typed, OF_TRAINING, "a request")
    if model == "pocket":
        show_pocket(as_json)
        return
    try:
        if train:
            plan_training(model, gpu, gpus, context, clips, price, as_json)
            return
        if model in PRESETS:
            plan_request(model, gpu, resolution, duration, aspect, steps, guidance, ram, as_json)
            return
        kind = model_of(model, new_shot)
        job = planning.job_of(
            kind, resolution.upper(), duration, aspect, steps, guidance, references, speakers, official=official
        )
    except ValueError as error:
        raise RequestError(str(error)) from error
    chosen_gpu = GPUS[gpu]
    limit = float("inf") if ram is None else ram * GB
    found = planning.estimates(job, chosen_gpu, limit)
    pick = choose(found, chosen_gpu, limit)
    if as_json:
        show_json(as_facts(job, gpu, chosen_gpu, found, pick, limit) | {"assumptions": dict(ASSUMPTIONS)})
    else:
        show(job, gpu, chosen_gpu, found, pick, limit)


def refuse(typed: typer.Context, names: Iterable[str], kind: str) -> None:
    """Raises RequestError where one of the options is typed, which this kind of plan would not listen to."""
    from openreels.request import RequestError

    if flags := typed_flags(typed, names):
        raise RequestError(f"{', '.join(flags)} cannot be used with {kind}")


def model_of(name: str, new_shot: bool) -> Model:
    """By a short name, a hub id or a folder. Raises ValueError."""
    from openreels.pipelines.v3 import planning

    if Path(name).is_dir():
        from openreels.pipelines.v3.loading import detect, planned

        return planned(detect(name), new_shot)
    model = planning.model_of(name)
    return planning.MODELS["v2v-shot"] if new_shot and model.name == "v2v" else model


def as_facts(
    job: Job, gpu: str, chosen_gpu: Gpu, found: Iterable[Estimate], pick: Estimate | None, limit: float
) -> dict[str, Any]:
    """Everything in bytes, FLOPs and seconds."""
    from dataclasses import asdict

    return {
        "model": job.model.name,
        "gpu": {"name": gpu, **asdict(chosen_gpu)},
        "parameters": parameters(job),
        "size": [job.width, job.height],
        "frames": job.frames,
        "fps": job.fps,
        "passes": len(job.passes),
        "evaluations": job.evaluations * len(job.passes),
        "tokens": [each.sequence.tokens for each in job.passes],
        "flops": flops(job),
        "forward_bytes": job.forward_bytes,
        "placements": [placement_facts(each, chosen_gpu, limit) for each in found],
        "pick": None if pick is None else placement_facts(pick, chosen_gpu, limit),
    }


def parameters(job: Job) -> dict[str, int]:
    from openreels.pipelines.v3.budget import COMPONENTS

    beside = {name: COMPONENTS[name].parameters for name in job.model.components}
    return {"transformer": job.model.network.parameters, **beside}


def flops(job: Job) -> dict[str, int]:
    from openreels.pipelines.v3.budget import forward_flops

    return {
        "largest_evaluation": forward_flops(job.model.network, job.largest),
        "transformer": job.transformer_flops,
        "text_encoder": job.text_flops,
        "codec": job.codec_flops(tiled=False),
    }


def show(job: Job, gpu: str, chosen_gpu: Gpu, found: Iterable[Estimate], pick: Estimate | None, limit: float) -> None:
    from openreels.cli.terminal import show_facts

    work, tokens = flops(job), [each.sequence.tokens for each in job.passes]
    show_facts(
        {
            "model": job.model.name,
            "parameters": ", ".join(f"{name} {count / 1e9:.4f} B" for name, count in parameters(job).items()),
            "result": f"{job.frames} frames of {job.width} x {job.height} at {job.fps} fps",
            "passes": f"{len(tokens)} of at most {max(tokens):,} tokens, {job.evaluations} evaluations each",
            "FLOPs": f"transformer {work['transformer']:.3g} ({work['largest_evaluation']:.3g} an evaluation), "
            f"codec {work['codec']:.3g}, text encoder {work['text_encoder']:.3g}",
            "activations": f"{job.forward_bytes / GB:.1f} GB in the transformer, "
            f"{job.codec_bytes(tiled=False) / GB:.1f} GB in the codec ({job.codec_bytes(tiled=True) / GB:.1f} tiled)",
            "gpu": f"{gpu}: {chosen_gpu.name}, {chosen_gpu.memory / GB:.0f} GB",
        }
    )
    show_placements(found, pick, chosen_gpu, limit)


# -- pocket -----------------------------------------------------------------------------------------------------------


def show_pocket(as_json: bool) -> None:
    """The pocket model needs no plan: what its weights are, read from their headers. Raises RequestError."""
    from openreels.cli.terminal import show_facts, show_json
    from openreels.pipelines.registry import find

    folder = Path(find("pocket"))
    counts = {part: tensors_of(folder / part) for part in parts_of(folder)}
    counts = {part: count for part, count in counts.items() if count}
    size = sum(path.stat().st_size for part in counts for path in (folder / part).glob("*.safetensors"))
    if as_json:
        show_json({"model": "pocket", "parameters": counts, "weight_bytes": size})
        return
    show_facts(
        {
            "model": "pocket",
            "parameters": ", ".join(f"{name} {count / 1e6:.2f} M" for name, count in counts.items()),
            "weights": f"{size / 1e6:.1f} MB: it fits everywhere, and runs on the CPU",
        }
    )


def parts_of(folder: Path) -> list[str]:
    import json

    index: Mapping[str, Any] = json.loads((folder / "model_index.json").read_text())
    return [name for name in index if not name.startswith("_")]


def tensors_of(folder: Path) -> int:
    """Numbers in the safetensors files of a folder. Reads the headers: their length in 8 bytes, then JSON."""
    import json
    from math import prod

    count = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        count += sum(prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    return count
