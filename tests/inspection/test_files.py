"""Files of guest memory that are not what one hopes: nothing of them is ever more than a sentence."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from vhostspy.inspection.files import File
from vhostspy.memory.guest import Outside


@pytest.fixture
def file() -> Iterator[File]:
    fd = os.memfd_create("guest")
    os.ftruncate(fd, 8192)
    os.pwrite(fd, b"\x07\x00", 4096)
    made = File(fd)
    yield made
    made.close()


def test_words_are_live_and_more_are_read_than_there_are(file: File) -> None:
    words = file.words(4096, 2)
    assert list(words) == [7, 0]
    os.pwrite(file.fd, b"\x09\x00", 4096)
    assert list(words) == [9, 0]
    assert file.read(8190, 4) == bytes(2)
    assert file.read(8192, 4) == b""


def test_a_file_that_is_cut_off_is_noticed_before_words_are_read(file: File) -> None:
    """To read them then would be the end of the process (SIGBUS)."""
    assert file.whole
    file.words(4096, 2)
    assert file.whole
    os.ftruncate(file.fd, 4096)
    assert not file.whole
    assert file.read(4096, 4) == b""
    file.unmap()
    assert file.whole
    with pytest.raises(Outside, match="its file at 0x1000"):
        file.words(4096, 2)


@pytest.mark.parametrize("offset", [1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_offsets_that_no_file_has(file: File, offset: int) -> None:
    assert file.read(offset, 4) == b""
    with pytest.raises(Outside):
        file.words(offset & ~1, 1)


def other(kind: str) -> int:
    if kind == "directory":
        return os.open("/tmp", os.O_RDONLY)
    if kind == "only written to":
        return os.open("/tmp", os.O_TMPFILE | os.O_WRONLY)
    if kind == "a path alone":
        return os.open("/proc/self/exe", os.O_PATH)
    if kind == "socket":
        return socket.socket(socket.AF_UNIX).detach()
    return os.eventfd(0, os.EFD_NONBLOCK)


@pytest.mark.parametrize("kind", ["directory", "only written to", "a path alone", "socket", "eventfd"])
def test_descriptors_of_something_else(kind: str) -> None:
    fd = other(kind)
    made = File(fd)
    with pytest.raises(Outside, match="cannot be read"):
        made.read(0, 4)
    with pytest.raises(Outside):
        made.words(0, 2)
    made.close()
