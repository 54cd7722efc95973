import io
import shutil
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from openreels.media import Clip, MediaError
from openreels.media.limits import Limits
from openreels.media.probe import probe
from openreels.media.read import read_clip, read_sound

# -- video ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "video_codec", "audio_codec"),
    [
        (".mp4", "libx264", "aac"),
        (".mov", "libx264", "aac"),
        (".mkv", "libx264", "flac"),
        (".webm", "libvpx-vp9", "libopus"),
    ],
)
def test_containers(make, tmp_path, spectrum_peak, suffix, video_codec, audio_codec):
    path = make.encode(
        tmp_path / f"clip{suffix}",
        make.greys(20),
        video_codec=video_codec,
        audio=make.tone(2, 48_000),
        sample_rate=48_000,
        audio_codec=audio_codec,
    )
    clip = Clip.open(path)
    assert clip.fps == 10
    assert make.indices(clip.frames) == list(range(20))
    assert clip.sample_rate == 48_000
    assert clip.audio.shape[1] == pytest.approx(96_000, abs=2_400)  # half a frame
    assert spectrum_peak(clip.audio[0], 48_000) == pytest.approx(300, abs=3)


def corners(frame: np.ndarray) -> str:
    """The colours of the four corners, clockwise from the top left, as letters."""
    names = {(True, False, False): "r", (False, True, False): "g", (False, False, True): "b", (True, True, True): "w"}
    return "".join(names[tuple((frame[y, x] > 128).tolist())] for y, x in ((4, 4), (4, -4), (-4, -4), (-4, 4)))


@pytest.mark.parametrize(
    ("rotation", "seen"),
    [
        ((0, False), "rgbw"),
        ((90, False), "gbwr"),  # degrees count anticlockwise
        ((180, False), "bwrg"),
        ((270, False), "wrgb"),
        ((0, True), "grwb"),
    ],
)
def test_rotation_and_mirroring_by_metadata(make, tmp_path, rotation, seen):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32, 0] = picture[:24, 32:, 1] = picture[24:, 32:, 2] = picture[24:, :32] = 255
    clip = Clip.open(make.encode(tmp_path / "phone.mp4", np.stack([picture] * 3), rotation=rotation))
    assert clip.frames.shape[1:3] == ((64, 48) if rotation[0] % 180 else (48, 64))
    assert corners(clip.frames[0]) == seen


def test_a_variable_rate_becomes_its_average_and_keeps_time(make, tmp_path):
    # Half a second at 20 fps, then half a second at 10 fps: 15 frames in a second.
    times = [Fraction(i, 20) for i in range(10)] + [Fraction(1, 2) + Fraction(i, 10) for i in range(5)]
    clip = Clip.open(make.encode(tmp_path / "vfr.mp4", make.greys(15), times=times))
    assert clip.fps == 15
    assert clip.duration == pytest.approx(1, abs=0.07)
    shown = make.indices(clip.frames)
    for tick, index in enumerate(shown):
        assert abs(times[index] - Fraction(tick, 15)) <= Fraction(1, 20)


def test_a_dropped_frame_is_bridged_without_changing_the_rate(make, tmp_path):
    times = [Fraction(i, 20) for i in range(21) if i != 7]
    clip = Clip.open(make.encode(tmp_path / "drop.mp4", make.greys(20), fps=20, times=times))
    assert clip.fps == 20
    assert make.indices(clip.frames)[:7] == list(range(7))
    assert make.indices(clip.frames)[8:] == list(range(7, 20))


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25, 2), Fraction(16)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_fractional_rates_are_exact(make, tmp_path, fps, suffix):
    clip = Clip.open(make.encode(tmp_path / f"clip{suffix}", make.greys(17), fps=fps))
    assert clip.fps == fps
    assert make.indices(clip.frames) == list(range(17))


def test_odd_sizes(make, tmp_path):
    path = make.encode(tmp_path / "odd.webm", make.greys(3, 47, 65), video_codec="libvpx-vp9")
    assert Clip.open(path).frames.shape == (3, 47, 65, 3)


def test_pixels_become_square(make, tmp_path):
    path = make.encode(tmp_path / "wide.mp4", make.greys(3, 48, 64), pixel_aspect=Fraction(4, 3))
    assert Clip.open(path).frames.shape == (3, 48, 85, 3)


def test_missing_sound(make, tmp_path):
    clip = Clip.open(make.encode(tmp_path / "mute.mp4", make.greys(5)))
    assert clip.audio is None
    assert clip.sample_rate == 0


# -- sound ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "sample_rate", "layout"),
    [
        ("a.wav", "pcm_s16le", 8_000, "mono"),
        ("a.wav", "pcm_s24le", 48_000, "stereo"),
        ("a.flac", "flac", 44_100, "stereo"),
        ("a.m4a", "aac", 44_100, "5.1"),
        ("a.m4a", "aac", 8_000, "mono"),
        ("a.mp3", "libmp3lame", 44_100, "stereo"),
        ("a.ogg", "libopus", 48_000, "stereo"),
    ],
)
def test_sound_files_keep_rate_channels_and_length(make, tmp_path, spectrum_peak, name, codec, sample_rate, layout):
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    audio = make.tone(2, sample_rate, channels)
    path = make.encode(tmp_path / name, audio=audio, sample_rate=sample_rate, audio_codec=codec, layout=layout)
    clip = Clip.open(path)
    assert clip.frames is None
    assert clip.sample_rate == sample_rate
    assert clip.audio.shape == audio.shape  # two seconds exactly: no priming, no padding
    assert clip.audio.dtype == np.float32
    for channel in {0, channels - 1}:
        assert spectrum_peak(clip.audio[channel], sample_rate) == pytest.approx(300 + 200 * channel, abs=2)


def test_a_cover_picture_is_no_video(make, tmp_path):
    path = tmp_path / "song.mp3"
    cover = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(cover, "JPEG")
    with av.open(str(path), "w") as output:
        sound = output.add_stream("libmp3lame", 44_100, layout="mono")
        picture = output.add_mux_stream("mjpeg", width=32, height=32)
        picture.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(make.tone(1, 44_100), "fltp", "mono")
        frame.sample_rate = 44_100
        packet = av.Packet(cover.getvalue())
        packet.stream = picture
        output.mux(packet)
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    clip = Clip.open(path)
    assert clip.frames is None
    assert clip.audio.shape == (1, 44_100)


@pytest.mark.parametrize("start", [Fraction(1, 2), Fraction(0)])
def test_sound_that_starts_late_stays_in_sync(make, tmp_path, start):
    audio = make.tone(1, 16_000)
    path = make.encode(
        tmp_path / "late.mkv", make.greys(15), audio=audio, sample_rate=16_000, audio_codec="flac", audio_start=start
    )
    clip = Clip.open(path)
    onset = int(np.flatnonzero(np.abs(clip.audio[0]) > 0.05)[0])
    assert onset == pytest.approx(start * 16_000, abs=20)


def test_a_picture_that_starts_late_takes_its_sound_along(make, tmp_path):
    audio = np.zeros((1, 24_000), np.float32)
    audio[0, 16_000:16_400] = 0.5  # a click at second 1, as the sixth frame appears
    times = [Fraction(1, 2) + Fraction(i, 10) for i in range(10)]
    path = make.encode(
        tmp_path / "late.mkv", make.greys(10), times=times, audio=audio, sample_rate=16_000, audio_codec="flac"
    )
    clip = Clip.open(path)
    onset = np.flatnonzero(np.abs(clip.audio[0]) > 0.2)[0]
    assert onset == pytest.approx(8_000, abs=20)
    assert make.indices(clip.frames)[5] == 5


def test_a_hole_in_the_sound_is_a_silence(make, tmp_path):
    path = tmp_path / "hole.mkv"
    with av.open(str(path), "w") as output:
        sound = output.add_stream("pcm_s16le", 16_000, layout="mono")
        for start in (0, 16_000):
            frame = av.AudioFrame.from_ndarray(make.tone(0.5, 16_000), "fltp", "mono")
            frame.sample_rate, frame.time_base, frame.pts = 16_000, Fraction(1, 16_000), start
            output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    clip = Clip.open(path)
    assert clip.audio.shape[1] == pytest.approx(24_000, abs=20)
    assert np.abs(clip.audio[0, 8_100:15_900]).max() == 0
    assert np.abs(clip.audio[0, 16_100:]).max() > 0.3


# -- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_pictures_are_one_frame(tmp_path, suffix):
    Image.new("RGB", (30, 20), (250, 10, 10)).save(tmp_path / f"a{suffix}")
    clip = Clip.open(tmp_path / f"a{suffix}")
    assert clip.frames.shape == (1, 20, 30, 3)
    assert clip.fps == 1
    assert np.abs(clip.frames[0, 5, 5].astype(int) - (250, 10, 10)).max() < 8


def test_a_pictures_name_does_not_matter(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "a.mp4")
    assert Clip.open(tmp_path / "a.mp4").frames.shape == (1, 20, 30, 3)


def test_exif_orientation(tmp_path):
    picture = Image.new("RGB", (30, 20), "black")
    picture.paste("red", (0, 0, 15, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter clockwise
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    frame = Clip.open(tmp_path / "a.jpg").frames[0]
    assert frame.shape == (30, 20, 3)
    assert frame[3, -3, 0] > 200 > 50 > frame[3, 3, 0]


def test_transparent_parts_are_white(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert Clip.open(tmp_path / "a.png").frames.min() == 255


def test_sixteen_bits_of_grey(tmp_path):
    Image.fromarray(np.full((8, 8), 0x4000, np.uint16)).save(tmp_path / "a.png")
    assert np.unique(Clip.open(tmp_path / "a.png").frames).tolist() == [0x40]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
@pytest.mark.parametrize(("last", "fps"), [(100, 10), (300, Fraction(15, 2))])
def test_animations(make, tmp_path, suffix, last, fps):
    first, *others = map(Image.fromarray, make.greys(6))
    delays = [100] * 5 + [last]
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=others, duration=delays, lossless=True)
    clip = Clip.open(tmp_path / f"a{suffix}")
    assert clip.fps == fps
    assert clip.duration == pytest.approx(sum(delays) / 1000)
    for tick, index in enumerate(make.indices(clip.frames)):
        assert abs(index / 10 - tick / fps) <= 0.05 or index == 5


# -- what is refused --------------------------------------------------------------------------------------------------


def refused(path, match: str, limits: Limits | None = None) -> None:
    with pytest.raises(MediaError, match=match) as caught:
        read_clip(path, limits) if limits else Clip.open(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(("delay", "fps"), [(62.5, 16), (1000 / 24, 24), (1000 / 60, 60)])
def test_animated_png_rates_are_exact(make, tmp_path, delay, fps):
    first, *others = (Image.fromarray(frame) for frame in make.greys(5))
    first.save(tmp_path / "a.png", save_all=True, append_images=others, duration=delay)
    clip = Clip.open(tmp_path / "a.png")
    assert float(clip.fps) == pytest.approx(fps, rel=1e-3) and len(clip.frames) == 5


def test_the_poster_of_an_animated_png_is_no_part_of_it(make, tmp_path):
    poster, *frames = (Image.fromarray(frame) for frame in make.greys(4))
    poster.save(tmp_path / "a.png", save_all=True, append_images=frames, duration=100, default_image=True)
    assert probe(tmp_path / "a.png").video.frames == 3
    assert make.indices(Clip.open(tmp_path / "a.png").frames) == [1, 2, 3]


def test_thirty_two_bits_are_refused_and_not_black(tmp_path):
    for name, values in (("whole", np.full((8, 8), 200, np.int32)), ("share", np.full((8, 8), 0.8, np.float32))):
        Image.fromarray(values).save(tmp_path / f"{name}.tiff")
        refused(tmp_path / f"{name}.tiff", "32 bits per channel")


def test_pictures_of_an_avi_with_b_frames_are_all_there_once(make, tmp_path):
    """AVI keeps no presentation times: what the decoder guesses runs backwards."""
    with av.open(str(tmp_path / "a.avi"), "w") as output:
        stream = output.add_stream("libx264", Fraction(24), options={"bf": "3", "crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for picture in make.greys(24):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:32, :32]), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    clip = Clip.open(tmp_path / "a.avi")
    seen = [int(frame.mean()) for frame in clip.frames]
    assert seen == sorted(seen) and len(set(seen)) == 24


def test_a_container_that_counts_milliseconds_is_not_taken_for_a_thousand_frames_a_second(make, tmp_path):
    rng = np.random.default_rng(0)
    times = [Fraction(int(33 * i + rng.integers(0, 9)), 1000) for i in range(40)]
    make.encode(tmp_path / "a.mkv", make.greys(40), times=times, video_codec="libvpx")
    header = probe(tmp_path / "a.mkv").video
    assert header.frames <= 60
    assert len(read_clip(tmp_path / "a.mkv", Limits(bytes=header.height * header.width * 3 * 100)).frames) >= 36


def test_a_missing_file(tmp_path):
    refused(tmp_path / "nowhere.mp4", "does not exist")


def test_a_name_that_no_file_can_have(tmp_path):
    refused(tmp_path / ("x" * 300 + ".mp4"), "File name too long")


def test_a_folder(tmp_path):
    refused(tmp_path, "is a folder")


@pytest.mark.parametrize("name", ["a.mp4", "a.png", "a.wav"])
def test_an_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    refused(tmp_path / name, "is empty; accepted are mp4")


@pytest.mark.parametrize("content", [b"just some words\n" * 50, bytes(range(256)) * 40, b"\0" * 4096])
@pytest.mark.parametrize("name", ["a.mp4", "a.txt", "a.png"])
def test_other_content_under_any_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, "damaged or not media")


def test_a_playlist_reaches_no_other_file(make, tmp_path):
    make.encode(tmp_path / "real.ts", make.greys(3))
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nreal.ts\n#EXT-X-ENDLIST\n")
    refused(tmp_path / "list.mp4", "damaged or not media")


def test_a_header_without_its_end(make, tmp_path):
    path = make.encode(tmp_path / "a.mp4", make.greys(20))  # PyAV's default leaves the index at the end
    path.write_bytes(path.read_bytes()[:-600])
    refused(path, "damaged")


def test_a_whole_header_over_half_the_data(make, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), np.uint8)
    clip = Clip(noise, Fraction(16), make.tone(2.5, 16_000), 16_000)
    path = clip.save(tmp_path / "a.mp4")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refused(path, "breaks off after")


def test_a_picture_cut_short(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    refused(tmp_path / "a.png", "damaged")


def test_noise_inside_a_video_never_escapes_as_another_error(make, tmp_path):
    rng = np.random.default_rng(0)
    content = bytearray(make.moving_clip().save(tmp_path / "a.mp4").read_bytes())
    for trial in range(30):
        broken = content.copy()
        for place in rng.integers(0, len(content), 20):
            broken[place] = rng.integers(256)
        path = tmp_path / f"{trial}.mp4"
        path.write_bytes(broken)
        try:
            Clip.open(path)
        except MediaError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        (Limits(side=63), "64 x 48 pixels; accepted are up to 63"),
        (Limits(seconds=1), "lasts 2 s; accepted are up to 1 s"),
        (Limits(bytes=100_000), "memory"),
    ],
)
def test_limits_hold_before_decoding(make, tmp_path, monkeypatch, limits, match):
    path = make.moving_clip(32).save(tmp_path / "a.mp4")
    monkeypatch.setattr("openreels.media.read.decode", lambda *_: pytest.fail("decoded"))
    refused(path, match, limits)


def test_limits_hold_for_pictures(tmp_path):
    Image.new("1", (9000, 10)).save(tmp_path / "long.png")
    refused(tmp_path / "long.png", "9000 x 10 pixels; accepted are up to 8,192")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    refused(tmp_path / "bomb.png", "too large a picture")


def test_probe_reads_headers_only(make, tmp_path):
    path = make.moving_clip(32, fps=Fraction(30000, 1001), metadata={"title": "hello"}).save(tmp_path / "a.mp4")
    header = probe(path)
    assert header.container == "mov"
    assert (header.video.codec, header.video.height, header.video.width) == ("h264", 48, 64)
    assert (header.video.fps, header.video.frames) == (Fraction(30000, 1001), 32)
    assert (header.audio.codec, header.audio.channels, header.audio.sample_rate) == ("aac", 1, 16_000)
    assert header.metadata == {"title": "hello"}


# -- sound alone ------------------------------------------------------------------------------------------------------


def test_the_sound_of_a_film_without_its_pictures(make, tmp_path):
    path = make.encode(tmp_path / "a.mp4", make.greys(20), audio=make.tone(2, 48_000), sample_rate=48_000)
    whole, sound = Clip.open(path), read_sound(path, Limits(side=8))  # limits of pictures do not count
    assert sound.frames is None and np.array_equal(sound.audio, whole.audio)
    assert sound.sample_rate == whole.sample_rate
    with pytest.raises(MediaError, match="has no sound"):
        read_sound(make.encode(tmp_path / "silent.mp4", make.greys(3)))
