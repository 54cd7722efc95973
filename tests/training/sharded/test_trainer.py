"""Sharded training and context parallelism on two and four gloo processes, against one process and plain torch."""

from pathlib import Path

import pytest
import torch
from sharded_jobs import (
    CONTEXT_CASES,
    RandomSource,
    config,
    four_processes,
    in_processes,
    tiny_transformer,
    trained,
    two_processes,
)
from torch.testing import assert_close

from openreels.models.adapters import load_lora, merge_lora
from openreels.models.context_parallel import ContextParallel
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.training.loop import step_generator
from openreels.training.sharded.layout import Layout, distributed
from openreels.training.sharded.lora import lora_config
from openreels.training.sharded.samples import collate
from openreels.training.sharded.sharding import _replace, export_weights, shard
from openreels.training.sharded.trainer import ShardedTrainer, TrainerConfig
from openreels.training.stages import part_of

pytestmark = pytest.mark.usefixtures("one_thread")

SAME = {"rtol": 1e-4, "atol": 1e-5}  # losses: float32, summed in another order, over a few steps
# Weights: a tenth of one step of Adam, which divides by the gradient's size and so shows the rounding of tiny ones.
CLOSE = {"rtol": 1e-4, "atol": 3e-4}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("sharded")


@pytest.fixture(scope="module")
def two(workdir):
    return in_processes(two_processes, 2, workdir, workdir)


@pytest.fixture(scope="module")
def four(two, workdir):
    return in_processes(four_processes, 4, workdir, workdir)


@pytest.fixture
def alone(tmp_path):
    """This process as a group of one."""
    with distributed("cpu", rank=0, processes=1, store=f"file://{tmp_path}/meet"):
        yield


def plain_torch(settings: TrainerConfig) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The same training written out: whole batches, no sharding, no trainer."""
    model, losses = tiny_transformer(), []
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, settings.betas, weight_decay=0.01)
    source = RandomSource(1)
    for step in range(settings.steps):
        sums = {"video": 0.0, "audio": 0.0}
        counts = {"video": 0.0, "audio": 0.0}
        for number in range(settings.batch):
            generator = step_generator(settings.seed, f"{settings.name}/path", step * settings.batch + number)
            batch = collate(source.micro_batch(step, number), settings.times, settings.cross_dropout, [generator])
            states = (truth.state if truth else None for truth in (batch.video, batch.audio))
            out = model(*states, batch.context, batch.tie_B if batch.audio else None)
            for name, truth, velocity in zip(sums, (batch.video, batch.audio), out, strict=True):
                if truth is not None and truth.state.time_B < 1:
                    sums[name] = sums[name] + (velocity - truth.target_BNC).square().mean()
                    counts[name] += 1
        loss = sum(sums[name] / max(counts[name], 1.0) for name in sums)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, dict(model.named_parameters())


@pytest.fixture(scope="module")
def plain(workdir):
    return plain_torch(config(workdir, "data"))


@pytest.mark.parametrize("case", CONTEXT_CASES)
def test_two_processes_that_share_a_clip_equal_one(two, case):
    forward, backward = two["context"][case]
    assert forward < 1e-5 and backward < 1e-5


@pytest.mark.parametrize("case", ["gather", "ulysses"])
def test_four_processes_that_share_a_clip_equal_one(four, case):
    forward, backward = four["context"][case]
    assert forward < 1e-5 and backward < 1e-5


def test_one_process_trains_as_plain_torch_does(plain, alone, tmp_path):
    result = trained(config(tmp_path, "data"))
    losses, weights = plain
    assert_close(result["losses"], losses, **SAME)
    for name, value in weights.items():
        assert_close(result["weights"][name], value.detach(), **CLOSE)


class Logged(RandomSource):
    """Notes when a micro-batch is drawn."""

    def __init__(self, log: list[str]):
        super().__init__(1)
        self.log = log

    def micro_batch(self, step: int, number: int):
        self.log.append(f"drawn {number}")
        return super().micro_batch(step, number)


def test_one_micro_batch_is_held_at_a_time(alone, tmp_path):
    log, layout = [], Layout.of("cpu")
    model = shard(tiny_transformer, layout, "cpu")
    model.register_forward_hook(lambda *_: log.append("computed"))
    ShardedTrainer(model, Logged(log), config(tmp_path, "data", steps=1, batch=2), layout).run()
    assert log == ["drawn 0", "computed", "drawn 1", "computed"]


def test_an_export_puts_right_what_an_interrupted_one_left(alone, tmp_path):
    layout, folder = Layout.of("cpu"), tmp_path / "x-weights"
    model = shard(tiny_transformer, layout, "cpu")
    export_weights(model, layout, folder, torch.float32)
    names = {path.name for path in folder.iterdir()}
    for left in (".x-weights.old", ".x-weights.tmp"):
        (tmp_path / left / "deep").mkdir(parents=True)
        (tmp_path / left / "deep" / "file").touch()
    export_weights(model, layout, folder, torch.float32)
    assert {path.name for path in folder.iterdir()} == names

    folder.rename(tmp_path / ".x-weights.old")  # stopped between the two renames, then again while writing
    with pytest.raises(OSError, match="disk full"):
        _replace(folder, full_disk)
    assert {path.name for path in folder.iterdir()} == names
    export_weights(model, layout, folder, torch.float32)
    assert [path.name for path in tmp_path.iterdir() if "weights" in path.name] == ["x-weights"]


def full_disk(folder: Path) -> None:
    folder.mkdir()
    raise OSError("disk full")


def test_two_processes_train_as_one_and_four_go_on_where_they_stopped(plain, two, four):
    losses, weights = plain
    assert_close(two["data"]["losses"], losses[:2], **SAME)
    assert_close(four["resumed"]["losses"], losses[2:], **SAME)
    for name, value in weights.items():
        assert_close(four["resumed"]["weights"][name], value.detach(), **CLOSE)


def test_micro_batches_and_shared_clips_change_no_result(alone, two, tmp_path):
    """Four accumulated micro-batches of one clip against two of two clips, whose tokens two processes share."""
    result = trained(config(tmp_path, "context", steps=3, micro_batch=1))
    assert_close(two["context training"]["losses"], result["losses"], **SAME)
    for name, value in result["weights"].items():
        assert_close(two["context training"]["weights"][name], value, **CLOSE)


def test_bfloat16_is_for_computing_and_float32_for_keeping(plain, two):
    """Losses within rounding of bfloat16; steps of 3e-3 arrive in weights at which bfloat16 would swallow them."""
    losses, _ = plain
    assert_close(two["bfloat16"]["losses"], losses[:2], rtol=0.03, atol=0.0)
    assert two["bfloat16"]["losses"] != two["data"]["losses"]
    weights = two["bfloat16"]["weights"].values()
    assert all(value.dtype == torch.float32 for value in weights)
    assert any((value != value.bfloat16().float()).any() for value in weights)


def test_frozen_parts_stay_as_they_are_to_the_bit(two):
    before = dict(tiny_transformer().named_parameters())
    for name, value in two["frozen"]["weights"].items():
        learns = part_of(name) in ("audio", "cross") and "video_from_audio" not in name
        assert torch.equal(value, before[name]) != learns, name


def test_the_average_follows_the_weights(two, workdir):
    """Exported: half of every step's change, for the average's memory is half a step."""
    average = SkyReelsV4Transformer.from_pretrained(workdir / "data-weights")
    before = tiny_transformer()
    changed = [name for name, value in average.named_parameters() if not torch.equal(value, before.get_parameter(name))]
    assert changed and not torch.equal(average.video.embed.weight, two["data"]["weights"]["video.embed.weight"])


def test_checkpoints_are_whole_or_not_there(two, workdir):
    names = {path.name for path in (workdir / "frozen").iterdir()}
    assert names == {"step-000002"}
    assert (workdir / "frozen/step-000002/.metadata").is_file()


def test_an_adapter_alone_is_trained_and_its_file_reproduces_it(two, workdir):
    model = tiny_transformer()
    weights = two["adapter"]
    for name, value in model.named_parameters():
        layer, _, kind = name.rpartition(".")
        trained_name = name if name in weights else f"{layer}.base_layer.{kind}"
        assert torch.equal(weights[trained_name], value), name

    load_lora(model, workdir / "adapter-weights")
    loaded = {name.replace("default_0", "default"): p for name, p in model.named_parameters() if "lora_" in name}
    assert loaded and any(p.abs().max() > 0 for name, p in loaded.items() if "lora_B" in name)
    for name, value in loaded.items():
        assert part_of(name) in ("audio", "cross")
        assert torch.equal(weights[name], value), name
    batch = collate(RandomSource(1).micro_batch(0, 0), config(workdir, "x").times, 0.0, [torch.Generator()])
    adapted = model(batch.video.state, batch.audio.state, batch.context)
    merge_lora(model)
    merged = model(batch.video.state, batch.audio.state, batch.context)
    assert not any("lora_" in name for name, _ in model.named_parameters())
    for a, b in zip(adapted, merged, strict=True):
        assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_refusals_name_what_is_wrong(alone, workdir, tmp_path):
    with pytest.raises(ValueError, match="batch must be a multiple of micro_batch, 3, not 4"):
        config(workdir, "x", micro_batch=3)
    with pytest.raises(ValueError, match="learns must name some of video, audio, cross, not text"):
        config(workdir, "x", learns=("text",))
    with pytest.raises(ValueError, match="divides 1 processes, not 2"):
        Layout.of("cpu", context=2)
    with pytest.raises(ValueError, match="LoRA branches must be some of"):
        lora_config(tiny_transformer(), branches=("text",))
    with pytest.raises(ValueError, match="is missing"):
        load_lora(tiny_transformer(), tmp_path)


def test_an_adapter_of_another_model_is_refused(two, workdir):
    with pytest.raises(ValueError, match="of another model"):
        load_lora(tiny_transformer(num_single_layers=0), workdir / "adapter-weights")


def test_ulysses_needs_heads_that_divide():
    class Three:
        size, rank = staticmethod(lambda: 3), staticmethod(lambda: 0)

    with pytest.raises(ValueError, match="heads that divide by 3 processes, not 4"):
        ContextParallel(tiny_transformer(), Three, "ulysses")
