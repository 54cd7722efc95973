"""Lab and the matching of colours."""

from itertools import pairwise

import torch

from openreels.pipelines.v3.colour import Anchor, Correction, Statistics, lab_to_rgb, match_each_frame, rgb_to_lab


def pixels(seed: int = 0, frames: int = 4, scale: float = 0.3, shift: float = 0.0) -> torch.Tensor:
    noise = torch.rand(1, 3, frames, 8, 10, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return noise * scale + shift


def test_known_colours():
    colours = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]])
    # sRGB in CIE Lab under D65, as published colour tables give them.
    expected = torch.tensor(
        [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86], [53.39, 0, 0]]
    )
    lab = rgb_to_lab(colours.T.reshape(3, 2, 3)).reshape(3, 6).T
    assert (lab - expected).abs().max() < 0.05


def test_lab_and_back():
    rgb = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert (lab_to_rgb(rgb_to_lab(rgb)) - rgb).abs().max() < 2e-5


def test_each_frame_takes_the_reference_statistics():
    reference = pixels(1, 1, 0.2, -0.1)
    matched = match_each_frame(pixels(2) + torch.linspace(0, 0.2, 4)[None, None, :, None, None], reference)
    wanted = Statistics.of(reference)
    for frame in matched.split(1, dim=2):
        got = Statistics.of(frame)
        assert (got.mean_C - wanted.mean_C).abs().max() < 0.2 and (got.spread_C - wanted.spread_C).abs().max() < 0.2


def test_a_frame_of_the_reference_stays():
    reference = pixels(3, 1)
    assert (match_each_frame(reference, reference) - reference).abs().max() < 1e-4


def test_flat_frames_do_not_divide_by_zero():
    flat = torch.zeros(1, 3, 2, 4, 4)
    assert torch.isfinite(match_each_frame(flat, pixels(1, 1))).all()


def test_statistics_are_those_of_all_pixels_together():
    clip = pixels(6, frames=19)
    lab = rgb_to_lab((clip[0].transpose(0, 1) + 1) / 2)
    spread, mean = torch.std_mean(lab, dim=(0, 2, 3), correction=0)
    got = Statistics.of(clip)
    assert torch.allclose(got.mean_C, mean, atol=1e-3) and torch.allclose(got.spread_C, spread, atol=1e-3)


def test_a_correction_is_limited_and_follows_its_weights():
    anchor, drifted = Statistics.of(pixels(4, 12)), pixels(4, 12, scale=0.33, shift=0.05)
    free = Correction.between(Statistics.of(drifted), anchor, mean_limit=50, spread_limit=0.9)
    moved = free.apply(drifted, torch.tensor([0.0] * 6 + [1.0] * 6))
    assert torch.allclose(moved[:, :, :6], drifted[:, :, :6], atol=1e-4)
    assert not torch.allclose(moved[:, :, 6:], drifted[:, :, 6:], atol=1e-2)
    everywhere = Statistics.of(free.apply(drifted, torch.ones(12)))
    assert (everywhere.mean_C - anchor.mean_C).abs().max() < 0.1
    far = Correction.between(Statistics.of(pixels(5, shift=0.6)), anchor, mean_limit=2, spread_limit=0.05)
    assert far.shift_C.abs().max() <= 2 and (far.factor_C - 1).abs().max() <= 0.05 + 1e-6


def test_an_anchor_takes_off_what_the_codec_added_and_stops_a_drift():
    base, anchor = pixels(7, 12), Anchor()
    brighter = base + 0.02  # what every pass adds here, to old frames and new ones
    held = anchor.hold(brighter, brighter[:, :, :4], base[:, :, :4])
    assert (Statistics.of(held).mean_C - Statistics.of(base).mean_C).abs().max() < 0.1
    # A second pass that drifts by itself: unchanged at its first frame, led back at its last.
    drifted = base + 0.02
    again = anchor.hold(drifted, base[:, :, :4], base[:, :, :4])
    offsets = [
        (Statistics.of(x).mean_C - Statistics.of(y).mean_C)[0].item()
        for x, y in zip(again.split(1, dim=2), base.split(1, dim=2), strict=True)
    ]
    assert offsets[0] > 0.8 and abs(offsets[-1]) < 0.1
    assert all(later < earlier for earlier, later in pairwise(offsets))
