"""One tshark for all tests of this folder; without the program they skip, and say so."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import missing

from .tshark import Tshark, new_tshark

SID = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "vhostspy" / "sid"


@pytest.fixture(scope="session", params=["here", pytest.param("sid", marks=pytest.mark.sid)])
def tshark(request: pytest.FixtureRequest) -> Iterator[Tshark]:
    root = SID if request.param == "sid" else None
    if root is None and shutil.which("tshark") is None:
        missing("not installed here: tshark")
    if root is not None and not (root / "usr/bin/tshark").exists():
        missing(f"{root}/usr/bin/tshark (tests/peers/sid.sh --again makes it)")
    with new_tshark(root) as made:
        yield made
