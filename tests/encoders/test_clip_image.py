"""V3's image encoder. Its numbers against the official ones: tests/golden."""

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from openreels.encoders.clip_image import ClipImageEncoder

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def encoder() -> ClipImageEncoder:
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    return ClipImageEncoder(CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=14, patch_size=7)).eval())


def test_any_size_gives_all_tokens(encoder):
    assert encoder(torch.rand(2, 3, 40, 30) * 2 - 1).shape == (2, 5, 8)


def test_stops_before_the_last_block(encoder):
    image = torch.rand(1, 3, 14, 14) * 2 - 1
    before = encoder(image)
    last = next(layer for name, layer in encoder.model.named_modules() if name.endswith("encoder.layers.2"))
    hook = last.register_forward_hook(lambda module, args, output: output * 0)
    assert torch.equal(encoder(image), before)
    hook.remove()


def test_white_and_black_are_normalised_as_clip_wants(encoder):
    seen = []
    hook = encoder.model.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    encoder(torch.ones(1, 3, 20, 20))
    encoder(-torch.ones(1, 3, 20, 20))
    hook.remove()
    white, black = (pixels.mean((0, 2, 3)) for pixels in seen)
    assert white.tolist() == pytest.approx([1.9303, 2.0749, 2.1459], abs=1e-3)
    assert black.tolist() == pytest.approx([-1.7923, -1.7521, -1.4802], abs=1e-3)
