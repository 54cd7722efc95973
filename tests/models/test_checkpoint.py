"""Files -> models, strictly."""

import json

import pytest
import torch
from accelerate import init_empty_weights
from safetensors.torch import save_file
from torch import nn

from openreels.models.checkpoint import load_strictly, open_tensors


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(3, 4)
        self.norm1 = nn.LayerNorm(4)
        self.register_buffer("steps", torch.arange(3), persistent=False)


def small() -> Small:
    with init_empty_weights():
        return Small()


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return Small().state_dict()


def same(key: str) -> tuple[str]:
    return (key,)


def load(source, names=same, **options):
    return load_strictly(small(), source, names, **{"dtype": torch.float32} | options)


def test_one_file(tmp_path):
    save_file(weights(), tmp_path / "a.safetensors")
    model = load(open_tensors(tmp_path / "a.safetensors"))
    assert all(torch.equal(value, weights()[key]) for key, value in model.state_dict().items())
    assert model.steps.tolist() == [0, 1, 2] and not model.training


def test_several_files_are_merged(tmp_path):
    for key, value in weights().items():
        save_file({key: value}, tmp_path / f"{key}.safetensors")
    assert torch.equal(load(open_tensors(tmp_path)).one.weight, weights()["one.weight"])
    save_file({"one.weight": torch.zeros(4, 3)}, tmp_path / "again.safetensors")
    with pytest.raises(ValueError, match=r"one\.weight is in two files: .*again.*one\.weight"):
        open_tensors(tmp_path)


def test_files_beside_an_index(tmp_path):
    """A part of its own is merged, as the releases do; the same weights once more are not."""
    (*first, last) = weights()
    save_file({key: weights()[key] for key in first}, tmp_path / "a.safetensors")
    save_file({last: weights()[last]}, tmp_path / "b.safetensors")
    save_file({key: torch.zeros_like(value) for key, value in weights().items()}, tmp_path / "c.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(first, "a.safetensors")}))
    model = load(open_tensors(tmp_path))
    assert all(torch.equal(value, weights()[key]) for key, value in model.state_dict().items())
    (tmp_path / "d.safetensors").write_bytes(b"half of it")
    with pytest.raises(ValueError, match=r"d\.safetensors cannot be read"):
        open_tensors(tmp_path)


def test_an_index_says_which_files_count(tmp_path):
    save_file(weights(), tmp_path / "a.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(weights(), "a.safetensors")}))
    assert set(open_tensors(tmp_path).shapes) == set(weights())
    index.write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "lost.safetensors"}}))
    with pytest.raises(ValueError, match=r"names files that are missing: lost\.safetensors"):
        open_tensors(tmp_path)
    index.write_text("{")
    with pytest.raises(ValueError, match=r"index\.json cannot be read"):
        open_tensors(tmp_path)


def test_pth_holds_tensors_or_nothing(tmp_path):
    torch.save(weights(), tmp_path / "a.pth")
    assert torch.equal(load(open_tensors(tmp_path / "a.pth")).one.bias, weights()["one.bias"])
    torch.save(weights(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(load(open_tensors(tmp_path / "old.pth")).one.bias, weights()["one.bias"])

    class Harm:
        def __reduce__(self):
            return (print, ("harm",))

    torch.save({"a": Harm()}, tmp_path / "b.pth")
    with pytest.raises(ValueError, match="cannot be read as plain tensors"):
        open_tensors(tmp_path / "b.pth")
    torch.save({"a": {"nested": torch.zeros(1)}}, tmp_path / "c.pth")
    with pytest.raises(ValueError, match="is not a state dict of tensors"):
        open_tensors(tmp_path / "c.pth")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("empty", "must hold safetensors files"), ("no.safetensors", "there is no file"), ("a.txt", "is none of")],
)
def test_nothing_to_read(tmp_path, name, sentence):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ValueError, match=sentence):
        open_tensors(tmp_path / name)


def test_damaged_files(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"\x08")
    (tmp_path / "a.pth").write_bytes(b"")
    for name in ("a.safetensors", "a.pth"):
        with pytest.raises(ValueError, match="cannot be read"):
            open_tensors(tmp_path / name)


def test_one_error_lists_all_that_does_not_fit(tmp_path):
    given = weights()
    given["two.weight"] = given.pop("one.bias")
    given["one.weight"] = torch.zeros(4, 5)
    save_file(given, tmp_path / "a.safetensors")
    source = open_tensors(tmp_path / "a.safetensors")
    source.tensor = None  # nothing is read
    with pytest.raises(ValueError) as caught:
        load(source)
    assert str(caught.value) == (
        f"the weights in {tmp_path / 'a.safetensors'} do not fit Small; missing: one.bias; unexpected: two.weight; "
        "wrong shape: one.weight (4, 5) instead of (4, 3)."
    )


def test_long_lists_are_cut(tmp_path):
    save_file(weights() | {f"x{i:03}": torch.zeros(1) for i in range(50)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"x019 and 30 more\.$"):
        load(open_tensors(tmp_path / "a.safetensors"))


def test_renaming_cutting_and_axes_of_one(tmp_path):
    given = weights()
    given["norm1"] = torch.cat([given.pop("norm1.weight"), given.pop("norm1.bias")])
    given["first.weight"], given["first.bias"] = given.pop("one.weight")[None], given.pop("one.bias")
    given["extra.7"] = torch.zeros(2)
    save_file(given, tmp_path / "a.safetensors")

    def names(key):
        return ("norm1.weight", "norm1.bias") if key == "norm1" else (key.replace("first", "one"),)

    model = load(open_tensors(tmp_path / "a.safetensors"), names, ignore=("extra.*",))
    assert all(torch.equal(value, weights()[key]) for key, value in model.state_dict().items())


def test_precision(tmp_path):
    save_file(weights(), tmp_path / "a.safetensors")
    source = open_tensors(tmp_path / "a.safetensors")
    model = load(source, dtype=torch.bfloat16, keep_in_fp32=("norm1",))
    assert model.one.weight.dtype == torch.bfloat16 and model.norm1.weight.dtype == torch.float32


def test_tied_weights(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Embedding(3, 2)
            self.two = nn.Embedding(3, 2)
            self.two.weight = self.one.weight

    for key in ("one.weight", "two.weight"):
        save_file({key: torch.ones(3, 2)}, tmp_path / "a.safetensors")
        with init_empty_weights():
            model = Tied()
        source = open_tensors(tmp_path / "a.safetensors")
        load_strictly(model, source, same, dtype=torch.float32, tied={"two.weight": "one.weight"})
        assert model.two.weight is model.one.weight and bool(model.one.weight.all())
