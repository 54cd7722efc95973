"""The arithmetic of `budget.py` against the networks: sizes, operations, and bytes alive.

Bytes are measured in two ways. On the meta device at full size, nothing is computed and every tensor's storage is
counted from its making to its freeing. On the CPU at small sizes, the allocator's own events are summed up.
"""

import json
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from openreels.models.wan import SkyReelsV3Transformer
from openreels.models.wan_blocks import WanBlock
from openreels.nn import attention as attention_module
from openreels.nn.attention import attending_by, reference_attention
from openreels.pipelines.v3 import budget
from openreels.pipelines.v3.budget import A2V, COMPONENTS, R2V, V2V, Network, Sequence

COUNTS = json.loads((Path(__file__).parent / "param_counts.json").read_text())
SMALL = {"num_attention_heads": 4, "attention_head_dim": 32, "text_dim": 64, "freq_dim": 64, "ffn_dim": 320}
MIDDLE = {"num_attention_heads": 6, "attention_head_dim": 64, "text_dim": 256, "freq_dim": 64, "ffn_dim": 1024}
SOUND = {"in_channels": 36, "image_dim": 40, "added_kv_proj_dim": 128, "audio_dim": 24, "audio_layers": 3}
SOUND |= {"audio_hidden_dim": 16, "audio_token_dim": 12, "audio_tokens": 4, "variant": "a2v"}
FULL_SOUND = {"in_channels": 36, "image_dim": 1280, "added_kv_proj_dim": 5120, "audio_dim": 768, "variant": "a2v"}


@pytest.fixture(autouse=True)
def quiet(one_thread):
    """All of these run on one thread, without gradients."""
    with torch.no_grad():
        yield


# -- measuring --------------------------------------------------------------------------------------------------------


class LiveBytes(TorchDispatchMode):
    """Bytes of all storages made inside and still alive; `peak` of them."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self.known: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        given = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in given and storage._cdata not in self.known:
                    self.add(storage)
        return made

    def add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()

        def forget(_) -> None:
            self.live -= size
            del self.known[key]

        self.known[key] = weakref.ref(storage, forget)
        self.live += size
        self.peak = max(self.peak, self.live)


def allocator_peak(function) -> int:
    """Bytes that PyTorch's CPU allocator holds at most while `function` runs, beyond what it held before."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        function()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def network(config: dict, dtype: torch.dtype = torch.float32, device: str = "cpu", layers: int = 1):
    with torch.device(device):
        model = SkyReelsV3Transformer(**config, num_layers=layers).eval().requires_grad_(False)
    return model.to(dtype)


def call(model: SkyReelsV3Transformer, sequence: Sequence, frame_times: bool = False):
    """One forward pass over a strip of patches."""
    size, device, dtype = (
        Network.of(model.config),
        model.patch_embedding.weight.device,
        model.patch_embedding.weight.dtype,
    )

    def blank(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, device=device, dtype=dtype)

    options = {}
    if sequence.image_tokens:
        options["encoder_hidden_states_image"] = blank(1, sequence.image_tokens, size.image_dim)
    if sequence.speakers:
        windows = size.audio_window, size.audio_layers, size.audio_dim
        options["audio_hidden_states"] = blank(1, sequence.speakers, 1 + 4 * (sequence.frames - 1), *windows)
    latents = blank(1, size.in_channels, sequence.frames, 2, 2 * sequence.frame_tokens)
    time = torch.zeros((1, sequence.frames) if frame_times else (1,))
    text = blank(1, sequence.text_tokens, size.text_dim)
    return lambda: model(latents, time, text, **options)


# -- sizes ------------------------------------------------------------------------------------------------------------


def test_parameters_of_the_releases():
    assert R2V.parameters == COUNTS["r2v_transformer"]
    assert V2V.parameters == COUNTS["v2v_transformer"]
    assert A2V.parameters == COUNTS["a2v_transformer"]
    assert COMPONENTS["text_encoder"].parameters == COUNTS["umt5_xxl_pth"]
    assert COMPONENTS["vae"].parameters == COUNTS["wan21_vae_pth"]
    assert COMPONENTS["audio_encoder"].parameters == COUNTS["wav2vec2_base"]


def test_parameters_of_the_image_tower():
    from transformers import CLIPVisionConfig, CLIPVisionModel

    sizes = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 16, "patch_size": 14}
    with torch.device("meta"):
        tower = CLIPVisionModel(CLIPVisionConfig(**sizes, num_hidden_layers=32, image_size=224))
    assert COMPONENTS["image_encoder"].parameters == tower.num_parameters()


@pytest.mark.parametrize("extra", [{}, SOUND])
def test_weights_by_dtype(extra):
    model = network(SMALL | extra, torch.bfloat16, layers=2)
    size = Network.of(model.config)
    assert size.parameters == sum(p.numel() for p in model.parameters())
    for name, parameter in model.named_parameters():  # as `from_pretrained` leaves them
        if set(name.split(".")) & set(model._keep_in_fp32_modules):
            parameter.data = parameter.data.float()
    assert size.weight_bytes(2) == sum(p.nbytes for p in model.parameters())
    assert size.block_bytes(2) == sum(p.nbytes for p in model.blocks[0].parameters())
    model.enable_layerwise_casting(torch.float8_e4m3fn, torch.bfloat16)
    assert size.weight_bytes(1) == sum(p.nbytes for p in model.parameters())
    assert size.block_bytes(1) == sum(p.nbytes for p in model.blocks[0].parameters())


@pytest.mark.parametrize(
    ("extra", "sequence"),
    [({}, Sequence(3, 12, text_tokens=7)), (SOUND, Sequence(3, 12, text_tokens=7, image_tokens=9, speakers=1))],
)
def test_operations(extra, sequence):
    """With attention as written-out products, which the counter knows on the CPU."""
    model = network(SMALL | extra)
    with attending_by(reference_attention), FlopCounterMode(display=False) as counter:
        call(model, sequence)()
    counted = {name: sum(by_kind.values()) for name, by_kind in counter.get_flop_counts().items()}
    size = Network.of(model.config)
    layer = budget.forward_flops(replace(size, num_layers=2), sequence) - budget.forward_flops(size, sequence)
    assert layer == counted["SkyReelsV3Transformer.blocks.0"]
    if not extra:
        time = 2 * size.dim * (size.freq_dim + 7 * size.dim)
        assert budget.forward_flops(size, sequence) + time == counter.get_total_flops()


# -- bytes ------------------------------------------------------------------------------------------------------------


def test_tokens_at_once():
    assert WanBlock.tokens_at_once == budget.TOKENS_AT_ONCE


@pytest.mark.parametrize(
    ("extra", "sequence", "frame_times", "dtype"),
    [
        ({}, Sequence(40, 3600), True, torch.bfloat16),
        ({}, Sequence(35, 1560), False, torch.bfloat16),
        ({}, Sequence(9, 1560), True, torch.bfloat16),
        ({}, Sequence(9, 1560), True, torch.float32),
        ({}, Sequence(3, 1560), False, torch.bfloat16),
        (FULL_SOUND, Sequence(21, 3600, image_tokens=257, speakers=1), False, torch.bfloat16),
    ],
    ids=["v2v 720P", "r2v 480P", "two pieces", "two pieces float32", "one piece", "a2v 720P"],
)
def test_forward_at_full_width(monkeypatch, extra, sequence, frame_times, dtype):
    """One of 40 equal layers. Fused attention gives its output and keeps the sums; meta has only a written-out one."""
    monkeypatch.setattr(attention_module, "dispatch_attention_fn", lambda q, k, v, attn_mask=None: torch.empty_like(q))
    model = network(extra, dtype, "meta")
    run = call(model, sequence, frame_times)
    with LiveBytes() as meter:
        run()
    expected = budget.forward_bytes(Network.of(model.config), sequence, dtype.itemsize, frame_times)
    assert expected == pytest.approx(meter.peak, rel=0.02)


@pytest.mark.parametrize(("config", "at_once"), [(SMALL, 8192), (SMALL, 1200), (MIDDLE, 1200)])
def test_forward_on_the_cpu(monkeypatch, config, at_once):
    monkeypatch.setattr(WanBlock, "tokens_at_once", at_once)
    model = network(config, layers=2)
    sequence = Sequence(5, 560)
    run = call(model, sequence, frame_times=True)
    run()
    expected = budget.forward_bytes(Network.of(model.config), sequence, 4, True, at_once)
    assert expected == pytest.approx(allocator_peak(run), rel=0.1)


def test_modulation_is_held_per_frame():
    """spec/v3.md 5.1: spread over tokens, as diffusers' blocks do, it alone takes 17.7 GB at 144,000 tokens."""
    sequence = Sequence(40, 3600)
    spread = sequence.tokens * 6 * V2V.dim * 4
    assert spread == pytest.approx(17.7e9, rel=0.01)
    assert budget.forward_bytes(V2V, sequence, frame_times=True) < spread / 2


@pytest.fixture(scope="module")
def meta_vae():
    with torch.device("meta"):
        return AutoencoderKLWan().eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("what", "frames", "height", "width", "tiled"),
    [
        ("decode", 9, 64, 64, False),
        ("encode", 9, 64, 64, False),
        ("decode", 9, 64, 320, True),
    ],
)
def test_codec(monkeypatch, meta_vae, what, frames, height, width, tiled):
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", lambda q, k, v: torch.empty_like(q))
    monkeypatch.setattr(meta_vae, "use_tiling", tiled)
    latents = torch.empty(1, 16, 1 + (frames - 1) // 4, height // 8, width // 8, device="meta")
    clip = torch.empty(1, 3, frames, height, width, device="meta")
    with LiveBytes() as meter, FlopCounterMode(display=False) as counter:
        if what == "decode":
            meta_vae.decode(latents)
        else:
            meta_vae.encode(clip)
    peak = meter.peak + (clip.nbytes if what == "encode" else 0)
    assert budget.codec_bytes(what, frames, height, width, tiled) == pytest.approx(peak, rel=0.1)
    flops = budget.codec_flops(what, frames, height, width, tiled)
    assert flops == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_tiles_save_memory_and_cost_time():
    size = (121, 720, 1280)
    assert budget.codec_bytes("decode", *size, tiled=True) < budget.codec_bytes("decode", *size) / 3
    assert budget.codec_flops("decode", *size, tiled=True) > budget.codec_flops("decode", *size)
