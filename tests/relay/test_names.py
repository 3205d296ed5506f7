"""What may be listened on and connected to, and the one sentence for everything else."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vhostspy.errors import WrongUse
from vhostspy.relay.endpoint import SUN_PATH, Connector, Listener, address

from .harness import at_end, connected, exchange, listening, quiet, receive, running, send, sized, until


def refused(name: str, *words: str, kind: type[Listener] | type[Connector] = Listener) -> None:
    """The name is wrong use, and the sentence says so: it begins with the name and has these words."""
    with pytest.raises(WrongUse) as wrong:
        kind(name)
    sentence = str(wrong.value)
    assert sentence.startswith(f"{name}: ")
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


def leave_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(path))
        sock.listen()


def test_a_stale_socket_is_replaced(folder: Path) -> None:
    path = folder / "socket"
    leave_stale(path)
    old = path.stat().st_ino, path.stat().st_ctime_ns
    listener = Listener(str(path))
    assert (path.stat().st_ino, path.stat().st_ctime_ns) != old
    with connected(str(path)):
        listener.close()
    assert not path.exists()


def test_a_socket_that_is_bound_and_does_not_listen_is_stale_or_somebodys(folder: Path) -> None:
    """Nobody can connect to it, so nobody loses anything but its owner, who has not begun to listen."""
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(path))
        listener = Listener(str(path))
        connected(str(path)).close()
        listener.close()
    assert not path.exists()


def test_a_live_socket_is_refused_and_not_disturbed(folder: Path) -> None:
    path = str(folder / "socket")
    with listening(path) as owner:
        refused(path, "somebody listens here already")
        assert quiet(owner), "it was not connected to"
        with connected(path):
            owner.accept()[0].close()


@pytest.mark.parametrize("bound", ["relative", "another spelling"])
def test_a_live_socket_is_recognised_by_any_name(folder: Path, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """The kernel's table has the name that was used to bind it, which need not be ours."""
    monkeypatch.chdir(folder)
    (folder / "sub").mkdir()
    with listening("socket" if bound == "relative" else "sub/../socket") as owner:
        refused(str(folder / "socket"), "somebody listens here already")
        assert quiet(owner), "it was not connected to"


def test_a_live_socket_behind_a_link(folder: Path) -> None:
    path = folder / "socket"
    (folder / "link").symlink_to(path)
    with listening(str(path)) as owner:
        refused(str(folder / "link"))
        assert quiet(owner)
    assert (folder / "link").is_symlink()


@pytest.mark.parametrize("kind", ["file", "directory", "pipe", "link to nothing"])
def test_what_is_no_socket_is_never_removed(folder: Path, kind: str) -> None:
    path = folder / "there"
    match kind:
        case "file":
            path.write_text("mine")
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to(folder / "nowhere")
    before = os.lstat(path)
    refused(str(path))
    assert os.lstat(path) == before
    if kind == "file":
        assert path.read_text() == "mine"


@pytest.mark.parametrize("kind", [Listener, Connector])
def test_a_name_that_is_too_long(folder: Path, kind: type[Listener] | type[Connector]) -> None:
    longest = str(folder) + "/" + "x" * (SUN_PATH - 2 - len(str(folder)))
    assert len(longest) == SUN_PATH - 1
    refused(longest + "x", "too long", str(SUN_PATH), "at most 107", kind=kind)
    Listener(longest).close()


def test_a_name_of_bytes_above_ascii_counts_in_bytes(folder: Path) -> None:
    longest = str(folder) + "/" + "ü" * ((SUN_PATH - 2 - len(str(folder))) // 2)
    Listener(longest).close()
    refused(longest + "üü", "too long")


def test_a_folder_that_does_not_exist(folder: Path) -> None:
    refused(str(folder / "none" / "socket"), "does not exist")


def test_a_folder_that_is_a_file(folder: Path) -> None:
    (folder / "file").write_text("")
    refused(str(folder / "file" / "socket"))


@pytest.mark.needs_root
def test_a_folder_that_cannot_be_written_to(folder: Path) -> None:
    folder.chmod(0o755)
    os.seteuid(65534)
    try:
        refused(str(folder / "socket"))
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", ["", "fd:", "fd:x", "fd:-1", "fd:9999", "fd:3.0"])
@pytest.mark.parametrize("kind", [Listener, Connector])
def test_names_that_are_none(kind: type[Listener] | type[Connector], name: str) -> None:
    with pytest.raises(WrongUse):
        kind(name)


def test_a_name_with_a_nul(folder: Path) -> None:
    for kind in (Listener, Connector):
        with pytest.raises(WrongUse):
            kind(str(folder / "a\0b"))


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777])
def test_the_socket_has_its_mode_from_the_first_moment(folder: Path, mode: int) -> None:
    path = folder / "socket"
    before = os.umask(0o022)
    try:
        listener = Listener(str(path), mode)
        assert stat.S_IMODE(path.stat().st_mode) == mode
        listener.close()
        assert os.umask(0o022) == 0o022, "the umask is as it was"
    finally:
        os.umask(before)


def test_another_socket_in_the_place_of_ours_is_not_removed(folder: Path) -> None:
    path = folder / "socket"
    listener = Listener(str(path))
    path.unlink()
    with listening(str(path)):
        listener.close()
        assert path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "pipe"])
def test_connecting_to_what_is_no_socket(folder: Path, kind: str) -> None:
    path = folder / "there"
    match kind:
        case "file":
            path.write_text("")
        case "directory":
            path.mkdir()
        case _:
            os.mkfifo(path)
    refused(str(path), "expected a socket", kind=Connector)


def test_connecting_to_nothing_yet_is_right(folder: Path) -> None:
    reached = Connector(str(folder / "later")).attempt()
    assert isinstance(reached, FileNotFoundError)


def test_a_connector_that_is_refused_keeps_nothing(folder: Path) -> None:
    leave_stale(folder / "stale")
    connector = Connector(str(folder / "stale"))
    for _ in range(3):
        assert isinstance(connector.attempt(), ConnectionRefusedError)


# -- abstract sockets -------------------------------------------------------------------------------------------------


def test_abstract_sockets_both_sides() -> None:
    front_path, back_path = f"@vhostspy-test-{os.getpid()}-front", f"@vhostspy-test-{os.getpid()}-back"
    with (
        listening(back_path) as back_listener,
        running(Listener(front_path), Connector(back_path)),
        connected(front_path) as front,
    ):
        back, _ = back_listener.accept()
        with back:
            back.settimeout(10)
            exchange(front, back)


def test_an_abstract_name_that_is_taken() -> None:
    name = f"@vhostspy-test-{os.getpid()}-taken"
    with listening(name):
        refused(name, "Address already in use")


def test_the_longest_abstract_name() -> None:
    name = "@" + f"vhostspy-test-{os.getpid()}-".ljust(SUN_PATH - 1, "x")
    Listener(name).close()
    refused(name + "x", "too long")


# -- inherited descriptors --------------------------------------------------------------------------------------------


def test_an_inherited_listening_socket_keeps_its_path(folder: Path) -> None:
    """It is its maker's: we only accept from it."""
    path, back_path = str(folder / "front"), str(folder / "back")
    with listening(path) as made, listening(back_path) as back_listener:
        listener = Listener(f"fd:{os.dup(made.fileno())}")
        with running(listener, Connector(back_path)), connected(path) as front:
            back, _ = back_listener.accept()
            with back:
                back.settimeout(10)
                exchange(front, back)
        assert os.path.exists(path)


def test_an_inherited_connection_serves_one_session_and_the_relay_ends_with_it(folder: Path) -> None:
    path = str(folder / "front")
    ours, theirs = socket.socketpair()
    with ours, running(Listener(path), Connector(f"fd:{theirs.detach()}")) as relay, connected(path) as front:
        ours.settimeout(10)
        exchange(front, ours)
        front.close()
        assert at_end(ours)
        ours.close()
        relay.join()
        assert relay.relay.failure is None


def test_two_inherited_connections() -> None:
    front, front_theirs = socket.socketpair()
    back, back_theirs = socket.socketpair()
    sides = Connector(f"fd:{front_theirs.detach()}"), Connector(f"fd:{back_theirs.detach()}")
    with front, back, running(*sides) as relay:
        front.settimeout(10)
        back.settimeout(10)
        exchange(front, back)
        back.close()
        assert at_end(front)
        front.close()
        relay.join()
        assert relay.relay.failure is None


def test_a_second_front_end_for_an_inherited_connection_is_told_at_once(folder: Path) -> None:
    path = str(folder / "front")
    said: list[str] = []
    ours, theirs = socket.socketpair()
    sides = Listener(path), Connector(f"fd:{theirs.detach()}")
    with ours, running(*sides, say=said.append), connected(path) as front:
        ours.settimeout(10)
        exchange(front, ours)
        with connected(path) as second:
            assert at_end(second)
        until(lambda: any("serves one session" in line for line in said))
        exchange(front, ours)


def test_an_inherited_descriptor_that_does_not_fit(folder: Path) -> None:
    with open(folder / "file", "w") as file:
        for kind in (Listener, Connector):
            refused(f"fd:{file.fileno()}", "is no socket", kind=kind)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        refused(f"fd:{ours.fileno()}", "no listening socket")
        assert ours.fileno() >= 0
        ours.send(b"still open")
        assert theirs.recv(20) == b"still open"
    with listening(str(folder / "listening")) as listener:
        refused(f"fd:{listener.fileno()}", "expected a connected socket", kind=Connector)
        assert listener.fileno() >= 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
        for kind in (Listener, Connector):
            refused(f"fd:{datagram.fileno()}", "Unix stream socket", kind=kind)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
        refused(f"fd:{tcp.fileno()}", "Unix stream socket")


def test_an_inherited_descriptor_is_not_handed_on_to_children(folder: Path) -> None:
    """A viewer that inherited a peer's socket would delay its end of file."""
    with listening(str(folder / "a")) as made:
        number = os.dup(made.fileno())
        os.set_inheritable(number, True)
        listener = Listener(f"fd:{number}")
        assert not os.get_inheritable(number)
        listener.close()


def test_every_sentence_is_for_people() -> None:
    assert address("plain") == "plain"
    assert address("@name") == b"\0name"


def test_an_inherited_connection_by_a_real_process(folder: Path) -> None:
    """As a service manager or a test would start it."""
    front, front_theirs = socket.socketpair()
    back, back_theirs = socket.socketpair()
    with front, back:
        words = ["--connect", f"fd:{front_theirs.fileno()}", "--connect", f"fd:{back_theirs.fileno()}", "--no-capture"]
        process = subprocess.Popen(
            [sys.executable, "-m", "vhostspy", *words],
            pass_fds=[front_theirs.fileno(), back_theirs.fileno()],
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
        )
        front_theirs.close()
        back_theirs.close()
        try:
            front.settimeout(10)
            back.settimeout(10)
            send(front, sized(20), [4])
            assert receive(back).tags == (4,)
            front.close()
            assert at_end(back)
            back.close()
            assert process.wait(20) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
