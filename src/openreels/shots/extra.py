"""The libraries of the extra `shots`: PySceneDetect finds boundaries, OpenCV compares pictures. Slow to import."""

from __future__ import annotations

from types import ModuleType

from openreels.request import RequestError

__all__ = ["opencv", "scenedetect"]

ADVICE = "finding shots needs PySceneDetect and OpenCV, which are not installed: pip install 'openreels[shots]'"


def opencv() -> ModuleType:
    """Raises RequestError where it is missing."""
    try:
        import cv2
    except ImportError as error:
        raise RequestError(ADVICE) from error
    return cv2


def scenedetect() -> ModuleType:
    """Raises RequestError where it is missing."""
    try:
        import scenedetect
    except ImportError as error:
        raise RequestError(ADVICE) from error
    return scenedetect
