"""What holds for every test: it gives back each descriptor it opened, and a missing program is no silent success."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

# a busy machine is no fault of the code
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", settings.get_profile("default"), max_examples=5_000)
# a change is not refused for what luck found in another's code: there the examples are the same each time
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")

#: what a person may have said to programs about their output, which is no business of what is tested here
ABOUT_OUTPUT = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PYTHONWARNINGS", "PYTHONDEVMODE")


def pytest_configure(config: pytest.Config) -> None:
    on_equal_terms()
    config.addinivalue_line(
        "markers",
        "needs(*programs): skips, and says so, where a program is missing; with CI=true it fails",
    )
    config.addinivalue_line("markers", "needs_root: the same where the user is not root")


def on_equal_terms() -> None:
    """Make alike, for this process and all that it starts, what differs between those who start the tests."""
    for name in ABOUT_OUTPUT:
        os.environ.pop(name, None)
    # what a shell runs in the background is deaf to it, and so are all its children
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # as the command does for itself: a message may bring 253 descriptors
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"):
        if fit_for_sockets(Path(folder)):
            os.environ["TMPDIR"] = tempfile.tempdir = folder
            break


def fit_for_sockets(folder: Path) -> bool:
    """Whether sockets far below it have paths that the kernel takes (107 bytes), and every user may look in."""
    there = os.access(folder, os.W_OK | os.X_OK) and len(str(folder)) <= 30
    return there and all(each.stat().st_mode & 1 for each in (folder, *folder.parents))


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
