"""A capture of a whole session; and nothing has been agreed on when a test begins."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.config import conf

import vhostspy.dissectors.scapy_layers  # noqa: F401  (makes the settings)
from vhostspy.dissectors.context import Context


@pytest.fixture(autouse=True)
def no_agreement() -> Iterator[None]:
    conf.contribs["vhostspy"].update(Context()._asdict())
    yield
    conf.contribs["vhostspy"].update(Context()._asdict())


@pytest.fixture(scope="session")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of our own peers through our own relay, as its writer wrote it."""
    path = tmp_path_factory.mktemp("capture") / "session.pcapng"
    command = [sys.executable, "-m", "vhostspy", "demo", "--keep", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path
