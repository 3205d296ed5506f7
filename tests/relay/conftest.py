"""Fixtures of the relay's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vhostspy.relay import direction

from .harness import Relayed, temporary_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path."""
    with temporary_folder() as path:
        yield Path(path)


@pytest.fixture
def long_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a message is held for longer than any test lasts, however busy the machine is."""
    monkeypatch.setattr(direction, "HOLD_NS", 1000 * direction.HOLD_NS)


@pytest.fixture
def relayed(folder: Path) -> Iterator[Relayed]:
    """A running relay with a capture."""
    with Relayed(folder) as relay:
        yield relay


@pytest.fixture
def relayed_exactly(folder: Path) -> Iterator[Relayed]:
    """The same with --exact-reads."""
    with Relayed(folder, exact_reads=True) as relay:
        yield relay
