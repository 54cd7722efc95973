"""Compilation layer by layer, as diffusers does it: traced for real, run by the plain backend."""

import pytest
import torch
from torch.testing import assert_close

pytestmark = pytest.mark.usefixtures("one_thread")


@torch.no_grad()
def test_compiled_layers_give_the_same_velocities(tiny):
    # One layer: what is compiled is the layer, and tracing it takes seconds.
    model = tiny.shake(tiny.transformer(num_dual_layers=1, num_single_layers=0)).requires_grad_(False)
    streams, context = (tiny.with_references(tiny.video()), tiny.audio()), tiny.context()
    expected = model(*streams, context)
    model.compile_repeated_blocks(backend="eager")
    assert all(layer._compiled_call_impl is not None for layer in model.layers)
    for made, wanted in zip(model(*streams, context), expected, strict=True):
        assert_close(made, wanted, atol=1e-5, rtol=1e-5)
    torch.compiler.reset()
