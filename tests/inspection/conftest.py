"""The relay's own folder with a short path."""

from __future__ import annotations

from tests.relay.conftest import folder

__all__ = ["folder"]
