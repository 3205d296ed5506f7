"""What holds for every test: it gives back each descriptor it opened, and a missing program is no silent success."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

settings.register_profile("default", deadline=None)  # a busy machine is no fault of the code
settings.register_profile("fuzz", deadline=None, max_examples=5_000)
# a change is not refused for what luck found in another's code: there the examples are the same each time
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "needs(*programs): skips, and says so, where a program is missing; with CI=true it fails",
    )
    config.addinivalue_line("markers", "needs_root: the same where the user is not root")


def pytest_runtest_setup(item: pytest.Item) -> None:
    programs = [str(program) for marker in item.iter_markers("needs") for program in marker.args]
    absent = [program for program in programs if shutil.which(program) is None]
    if absent:
        missing(f"not installed here: {', '.join(absent)}")
    if item.get_closest_marker("needs_root") is not None and os.getuid() != 0:
        missing("NOT TRIED: it takes root")


def missing(what: str) -> NoReturn:
    """Skip the running test aloud; where CI=true, fail it: there everything is meant to be present."""
    if os.environ.get("CI") == "true":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def open_descriptors() -> dict[int, str]:
    """Each open descriptor of this process, and what it leads to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the one that the listing itself used
            continue
    return found


@pytest.fixture(autouse=True)
def descriptors_given_back() -> Iterator[None]:
    """Fail a test that ends with a descriptor it did not begin with, or without one it did."""
    before = open_descriptors()
    yield
    if open_descriptors() != before:
        gc.collect()  # an exception's traceback may have kept a socket; then Python itself has warned
    after = open_descriptors()
    left = {fd: leads_to for fd, leads_to in after.items() if before.get(fd) != leads_to}
    lost = {fd: led_to for fd, led_to in before.items() if fd not in after}
    assert not left, f"left open: {left}"
    assert not lost, f"closed, but belongs to another: {lost}"


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder that holds pyproject.toml."""
    return Path(__file__).parent.parent
