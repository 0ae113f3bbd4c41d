"""Which mailrig this is."""

from __future__ import annotations

__all__ = ["version"]


def version() -> str:
    """The version of the installed distribution, or of the source tree that runs without being installed."""
    from importlib import metadata

    try:
        return metadata.version("mailrig")
    except metadata.PackageNotFoundError:
        return "0+unknown"
