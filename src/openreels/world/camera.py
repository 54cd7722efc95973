"""Where the world is looked at from: pure data that the renderer honours.

Lengths in short sides of the safe window, as in `script`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["CAMERA_MOVES", "STRAIGHT", "Camera", "CameraMove"]

CAMERA_MOVES = ("pan-left", "pan-right", "push-in", "pull-out")


@dataclass(frozen=True, slots=True)
class Camera:
    """A view of a scene.

    x, y: what stands in the middle of the picture. zoom: above 1 nearer; the view is 1 / zoom of the safe window.
    mirrored: from behind, left and right change places. turn: 0..255, other far details of the place are behind what
    is seen (the room and the beach are the same all round: turning shows nothing new there).
    """

    x: float = 0.0
    y: float = 0.0
    zoom: float = 1.0
    mirrored: bool = False
    turn: int = 0

    def to_view(self, x: float, y: float) -> tuple[float, float]:
        """A place of the scene as it lies in the picture: from its middle, in short sides of the picture."""
        side = -1.0 if self.mirrored else 1.0
        return side * (x - self.x) * self.zoom, (y - self.y) * self.zoom


STRAIGHT = Camera()


@dataclass(frozen=True, slots=True)
class CameraMove:
    """How a camera moves evenly during a shot, from where its `Camera` stands to the end of the shot.

    kind: of CAMERA_MOVES. amount: short sides of the scene for a pan; for a push-in or a pull-out the ratio (above 1)
    of the zooms at both ends.
    """

    kind: str
    amount: float

    def at(self, camera: Camera, share: float) -> Camera:
        """The camera after `share` (0..1) of the shot."""
        if self.kind in ("pan-left", "pan-right"):
            side = (-1.0 if self.kind == "pan-left" else 1.0) * (-1.0 if camera.mirrored else 1.0)
            return replace(camera, x=camera.x + side * self.amount * share)
        ratio = self.amount if self.kind == "push-in" else 1.0 / self.amount
        return replace(camera, zoom=camera.zoom * ratio**share)
