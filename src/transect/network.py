"""The one permission to use the network, and libraries kept from using it on their own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

__all__ = ["ALLOWED", "downloads", "downloads_allowed", "silence_libraries"]

ALLOWED = "TRANSECT_DOWNLOAD"
"""The setting: an environment variable, so that processes of ``launch`` inherit it."""

_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "NO_ALBUMENTATIONS_UPDATE": "1",
}
_YES = {"1", "ON", "YES", "TRUE"}


def downloads_allowed() -> bool:
    """Whether the user allows pretrained weights to be fetched: ``--download``, or the setting."""
    return os.environ.get(ALLOWED, "").upper() in _YES


@contextlib.contextmanager
def downloads(allowed: bool) -> Iterator[None]:
    """Allow downloads within; ``False`` leaves it to the setting."""
    before = os.environ.get(ALLOWED)
    if allowed:
        os.environ[ALLOWED] = "1"
    try:
        yield
    finally:
        if allowed and before is None:
            del os.environ[ALLOWED]
        elif allowed and before is not None:
            os.environ[ALLOWED] = before


def silence_libraries() -> None:
    """Turn off what libraries would report of their use; what the user has set stays."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
