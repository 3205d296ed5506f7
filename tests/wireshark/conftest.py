"""One tshark for all tests of this folder; without the program they skip, and say so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.conftest import missing

from .tshark import Tshark, new_tshark


@pytest.fixture(scope="session")
def tshark() -> Iterator[Tshark]:
    if shutil.which("tshark") is None:
        missing("not installed here: tshark")
    with new_tshark() as made:
        yield made
