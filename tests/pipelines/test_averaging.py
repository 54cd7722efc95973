"""Models between two: the named components on the line, all else the trained one's."""

import pytest
import torch

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
