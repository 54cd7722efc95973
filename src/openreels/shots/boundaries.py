"""Where one shot may end and the next begin, by PySceneDetect.

Legend: T frames  H, W pixels.
"""

from __future__ import annotations

import numpy as np

from openreels.shots.extra import opencv, scenedetect

__all__ = ["WORKING_SIZE", "candidates", "working_frames"]

WORKING_SIZE = 64  # pixels of the short side in which shots are looked for: cuts are large things

# A boundary stands out of its neighbours (ratio) and changes hue, saturation, brightness and edges enough (content).
# Both are set low: on films of the world no cut is missed, and the classifier refuses what is only a fast motion.
RATIO, CONTENT = 2.0, 10.0
WEIGHTS = (1.0, 1.0, 1.0, 1.0)
SHORTEST = 2  # frames


def working_frames(frames_THWC: np.ndarray) -> np.ndarray:
    """(T, H, W, 3) uint8 with a short side of 64 pixels, shrunk by areas; smaller frames are left as they are."""
    height, width = frames_THWC.shape[1:3]
    scale = WORKING_SIZE / min(height, width)
    if scale >= 1:
        return frames_THWC
    cv2 = opencv()
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames_THWC])


def candidates(frames_THWC: np.ndarray, fps: float) -> list[int]:
    """Index of the first frame after each possible cut; frames as `working_frames` gives them."""
    library = scenedetect()
    detector = library.AdaptiveDetector(
        adaptive_threshold=RATIO,
        min_content_val=CONTENT,
        min_scene_len=SHORTEST,
        weights=library.ContentDetector.Components(*WEIGHTS),
    )
    found = []
    for index, frame in enumerate(frames_THWC):
        time = library.FrameTimecode(index, float(fps))
        found += detector.process_frame(time, np.ascontiguousarray(frame[..., ::-1]))  # the library sees BGR
    return [time.frame_num for time in found]
