"""The preview writes a sheet, clips that open again, scripts and captions."""

from PIL import Image

from openreels.media import Clip
from openreels.world import Scene, sample_scene
from openreels.world.preview import preview


def test_preview(tmp_path):
    paths = preview(tmp_path, 2, 7, duration=1.0)
    assert {path.suffix for path in paths} == {".png", ".mp4", ".json", ".txt"}
    assert Image.open(tmp_path / "sheet.png").size == (1036, 444)  # eight frames a row; captions, pictures, sound
    clip = Clip.open(tmp_path / "scene_000007.mp4")
    assert clip.frames.shape == (16, 64, 64, 3)
    assert clip.audio is not None
    scene = Scene.from_json((tmp_path / "scene_000007.json").read_text(encoding="utf-8"))
    assert scene == sample_scene(7, duration=1.0)
    assert "short_en: " in (tmp_path / "scene_000007.txt").read_text(encoding="utf-8")
