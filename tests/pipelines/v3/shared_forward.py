"""Forward passes shared by several processes: python shared_forward.py FOLDER prints the differences as JSON.

One process computes each case alone, then forks; gloo connects the forks. Forking before the first thread starts lets
all processes share one import of torch.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

import torch
import torch.distributed as dist

from openreels.models.wan import SkyReelsV3Transformer
from openreels.pipelines.v3.parallel import enable_context_parallel

# name: (network, rows and columns of tokens, processes)
CASES = {
    "dividing": ("v2v", 2, 4, 2),
    "uneven": ("v2v", 3, 3, 2),
    "four": ("r2v", 3, 3, 4),
    "sound": ("a2v", 3, 3, 2),
}


def network(variant: str) -> SkyReelsV3Transformer:
    torch.manual_seed(0)
    sizes = {"num_attention_heads": 4, "attention_head_dim": 16, "text_dim": 24, "freq_dim": 32, "ffn_dim": 48}
    if variant == "a2v":
        sizes |= {"in_channels": 36, "image_dim": 40, "added_kv_proj_dim": 64, "audio_dim": 24, "audio_layers": 2}
        sizes |= {"audio_hidden_dim": 16, "audio_token_dim": 12, "audio_tokens": 4}
    return SkyReelsV3Transformer(**sizes, num_layers=2, variant=variant).eval().requires_grad_(False)


def inputs(variant: str, rows: int, columns: int, frames: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    given = {
        "hidden_states": drawn(1, 36 if variant == "a2v" else 16, frames, 2 * rows, 2 * columns),
        "timestep": torch.tensor([[0.0, 500.0, 500.0]]) if variant == "v2v" else torch.tensor([500.0]),
        "encoder_hidden_states": drawn(1, 5, 24),
    }
    if variant == "a2v":
        given |= {"encoder_hidden_states_image": drawn(1, 7, 40), "audio_hidden_states": drawn(1, 1, 9, 2, 24)}
    return given


@torch.no_grad()
def alone(variant: str, rows: int, columns: int) -> torch.Tensor:
    return network(variant)(**inputs(variant, rows, columns)).sample


@torch.no_grad()
def together(folder: Path, case: str, rank: int) -> None:
    variant, rows, columns, processes = CASES[case]
    dist.init_process_group("gloo", f"file://{folder / case}.store", rank=rank, world_size=processes)
    model = network(variant)
    enable_context_parallel(model)
    made = model(**inputs(variant, rows, columns)).sample
    torch.save(made, folder / f"{case}-{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def forked(folder: Path, case: str) -> None:
    """Runs a case in processes of its own. Raises SystemExit where one of them fails."""
    children = []
    for rank in range(CASES[case][3]):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                together(folder, case, rank)
                code = 0
            except Exception:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    if any(os.waitpid(child, 0)[1] for child in children):
        sys.exit(f"a process of case {case} failed")


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    differences = {}
    for case, (variant, rows, columns, processes) in CASES.items():
        forked(folder, case)
        made = [torch.load(folder / f"{case}-{rank}.pt") for rank in range(processes)]
        expected = alone(variant, rows, columns)
        differences[case] = max((each - expected).abs().max().item() for each in made) / expected.abs().max().item()
    print("DIFFERENCES", json.dumps(differences))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
