"""What a file may decode to, checked from its header before memory is spent, and again while decoding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openreels.media.error import MediaError

__all__ = ["LIMITS", "Limits"]


@dataclass(frozen=True)
class Limits:
    """side: pixels of a picture's longer side; seconds of play; bytes of decoded frames and samples."""

    side: int = 8192
    seconds: int = 20 * 60
    bytes: int = 4 << 30

    def check(self, path: Path, *, height: int = 0, width: int = 0, seconds: float = 0, bytes: int = 0) -> None:
        """Raises MediaError where a file is beyond one of the limits."""
        if max(height, width) > self.side:
            raise MediaError(f"{path} is {width} x {height} pixels; accepted are up to {self.side:,} pixels a side")
        if seconds > self.seconds:
            raise MediaError(f"{path} lasts {seconds:,.0f} s; accepted are up to {self.seconds:,} s")
        if bytes > self.bytes:
            raise MediaError(
                f"{path} needs more than {bytes / 2**30:.1f} GiB of memory when decoded; accepted are up to "
                f"{self.bytes / 2**30:.1f} GiB, so cut it or make it smaller"
            )


LIMITS = Limits()
