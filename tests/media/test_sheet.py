import numpy as np
import pytest

from openreels.media import Clip
from openreels.media.sheet import contact_sheet, spectrogram


def test_a_sheet_shows_every_clip(make):
    clips = [make.moving_clip(17), Clip(audio=make.tone(1, 16_000), sample_rate=16_000), make.moving_clip(1, 64, 48)]
    sheet = contact_sheet(clips, ["a very long caption " * 30, "红"], columns=4, scale=2)
    assert sheet.mode == "RGB"
    assert sheet.width == 4 * 64 * 2 + 12
    assert np.asarray(sheet).std() > 10


def test_frames_are_spread_over_the_whole_clip(make):
    clip = Clip(make.greys(16), 16)
    strip = np.asarray(contact_sheet([clip], columns=4, scale=1))[6:-6, 6:-6]
    assert make.indices(np.stack(np.split(strip, 4, axis=1))) == [2, 6, 10, 14]


def test_a_tone_is_one_bright_line(make):
    picture = spectrogram(make.tone(1, 16_000), 16_000, width=50, bands=32).astype(int).sum(axis=2)
    rows = picture[:, 10:-10].argmax(axis=0)
    assert np.ptp(rows) == 0
    assert 16 <= rows[0] < 32  # 300 Hz lies in the lower half
    assert picture[0, 10:-10].max() < 60


@pytest.mark.parametrize("samples", [1, 100, 16_000])
def test_any_length_has_a_spectrogram(samples):
    assert spectrogram(np.zeros((2, samples), np.float32), 16_000, width=64, bands=16).shape == (16, 64, 3)


def test_a_sheet_needs_clips(make):
    with pytest.raises(ValueError, match="at least one clip"):
        contact_sheet([])
    with pytest.raises(ValueError):
        contact_sheet([make.moving_clip()], ["one", "two"])
