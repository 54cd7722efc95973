"""Models between two: the named components on the line, all else the trained one's."""

import pytest
import torch

from openreels.models.layout import LAYOUT_PARTS
from openreels.models.planner import LayoutPlanner
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.pipelines.averaging import average
from openreels.pipelines.v4 import SkyReelsV4Pipeline

pytestmark = pytest.mark.usefixtures("one_thread")


@torch.no_grad()
def test_components_lie_on_the_line_between(tiny_pipeline, tmp_path):
    for name, offset in (("start", 0.0), ("trained", 1.0)):
        tiny_pipeline.save_pretrained(tmp_path / name)
        model = SkyReelsV4Pipeline.from_pretrained(tmp_path / name)
        for part in (model.transformer, model.text_encoder, model.video_vae):
            for parameter in part.parameters():
                parameter += offset
        model.save_pretrained(tmp_path / name)
    average(
        tmp_path / "start",
        tmp_path / "trained",
        tmp_path / "out",
        {"transformer": 0.25, "text_encoder": 1.0},
        torch.float32,
    )
    made = SkyReelsV4Pipeline.from_pretrained(tmp_path / "out")
    for part, moved in (("transformer", 0.25), ("text_encoder", 1.0), ("video_vae", 1.0), ("vocoder", 0.0)):
        before = dict(getattr(tiny_pipeline, part).named_parameters())
        for key, parameter in getattr(made, part).named_parameters():
            torch.testing.assert_close(parameter, before[key] + moved)
    with pytest.raises(ValueError, match="holds something already"):
        average(tmp_path / "start", tmp_path / "trained", tmp_path / "out", {})


@torch.no_grad()
def test_what_hears_of_layouts_is_the_trained_one_where_the_start_has_none(tiny, tiny_pipeline, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path / "start")
    trained = SkyReelsV4Pipeline.from_pretrained(tmp_path / "start")
    config = {name: value for name, value in trained.transformer.config.items() if not name.startswith("_")}
    trained.transformer = tiny.shake(SkyReelsV4Transformer(**config | {"layout_classes": (2, 3)}))
    trained.save_pretrained(tmp_path / "trained")
    average(tmp_path / "start", tmp_path / "trained", tmp_path / "out", {"transformer": 0.5}, torch.float32)
    made = dict(SkyReelsV4Pipeline.from_pretrained(tmp_path / "out").transformer.named_parameters())
    old = dict(tiny_pipeline.transformer.named_parameters())
    for name, value in trained.transformer.named_parameters():
        expected = (old[name] + value) / 2 if name in old else value
        assert name in old or any(part in name for part in LAYOUT_PARTS)
        torch.testing.assert_close(made[name], expected)
    assert made.keys() > old.keys()


def test_an_averaged_text_encoder_is_one_that_a_planner_does_not_know(tiny_pipeline, tmp_path):
    told = SkyReelsV4Transformer(4, 3, 16, 2, (4, 6, 6), 1, 1, modulation_rank=4, layout_classes=(2, 3))
    planner = LayoutPlanner(16, (2, 3), width=8, num_heads=2, num_layers=1)
    SkyReelsV4Pipeline(**tiny_pipeline.components | {"transformer": told, "planner": planner}).save_pretrained(
        tmp_path / "planned"
    )
    tiny_pipeline.save_pretrained(tmp_path / "plain")
    with pytest.raises(ValueError, match="learnt to read its text_encoder as it is"):
        average(tmp_path / "planned", tmp_path / "planned", tmp_path / "out", {"text_encoder": 0.5})
    with pytest.raises(ValueError, match=r"only one of .* has a planner"):
        average(tmp_path / "plain", tmp_path / "planned", tmp_path / "out", {"planner": 0.5})


def test_models_of_other_sizes_have_no_average(tiny, tiny_pipeline, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path / "start")
    other = SkyReelsV4Pipeline.from_pretrained(tmp_path / "start")
    config = {name: value for name, value in other.transformer.config.items() if not name.startswith("_")}
    other.transformer = SkyReelsV4Transformer(**config | {"mlp_ratio": 3.0})
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="do not fit"):
        average(tmp_path / "start", tmp_path / "other", tmp_path / "out", {"transformer": 0.5})
    assert not (tmp_path / "out").exists()
