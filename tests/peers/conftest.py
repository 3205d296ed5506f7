"""Options and the bench for the tests with real programs.

pytest tests/peers                     the pairs that this machine's programs make
pytest -m soak tests/peers             those of them that take long or need two idle cores
pytest -m sid tests/peers              pairs with programs of Debian's unstable release, from sid.sh's chroot
... --direct                           without the relay: do the programs get on with each other?
... --repeat 20                        each test so many times in a row
... --update                           write expected/*.txt from this run (then read what has changed)
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .bench import Bench
from .place import HERE_PLACE, SID_PLACE, missing


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("vhostspy between real programs")
    group.addoption("--direct", action="store_true", help="connect the programs without vhostspy")
    group.addoption("--repeat", type=int, default=1, metavar="N", help="run each test N times in a row")
    group.addoption("--update", action="store_true", help="write the expected conversations anew")
    group.addoption("--keep", metavar="FOLDER", help="copy the captures there")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    times: int = metafunc.config.getoption("repeat", 1) or 1
    if "repetition" in metafunc.fixturenames and times > 1:
        metafunc.parametrize("repetition", range(1, times + 1))


@pytest.fixture
def repetition() -> int:
    return 1


@pytest.fixture
def origin() -> str:
    return "here"


@pytest.fixture
def bench(request: pytest.FixtureRequest, origin: str, repetition: int) -> Iterator[Bench]:
    """The programs of this machine, or in tests that say so (``origin``) those of the chroot."""
    place = SID_PLACE if origin == "sid" else HERE_PLACE
    if place.root is not None and not place.root.is_dir():
        missing(f"{place.root} (tests/peers/sid.sh makes it)")
    option = request.config.getoption
    direct, update, keep = (option(name, None) for name in ("direct", "update", "keep"))
    bench = Bench(place, direct=bool(direct), update=bool(update), keep=keep)
    yield bench
    bench.close()
