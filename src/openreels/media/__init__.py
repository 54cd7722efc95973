"""Files <-> `Clip`, and the arithmetic of frames, seconds, latents and samples. Without torch."""

from openreels.media.clip import Clip
from openreels.media.error import MediaError

__all__ = ["Clip", "MediaError"]
