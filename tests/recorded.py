"""Record the sessions in ``captures/`` that no packaged programs have with each other: both peers are the tests' own.

python -m tests.recorded FOLDER
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from struct import pack
from typing import NamedTuple

from .gpu.display import Display, draw
from .relay.harness import listening, message, reached, receive, send
from .vfio_user.client import Client, Refused
from .vfio_user.server import Server
from .vfio_user.tour import use_all
from .vfio_user.wire import DEVICE_FEATURE

ROOT = Path(__file__).parent.parent

GET_FEATURES, SET_FEATURES, SET_OWNER, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES = 1, 2, 3, 15, 16
#: VERSION_1 and PROTOCOL_FEATURES; MQ
FEATURES, PROTOCOL_FEATURES = 1 << 32 | 1 << 30, 1


def gpu(front: socket.socket, back: socket.socket) -> None:
    """What goes before a display, and all that a back-end may draw on it."""

    def ask(number: int, answer: bytes) -> None:
        send(front, message(number))
        receive(back)
        send(back, message(number, answer, reply=True))
        receive(front)

    def tell(number: int, payload: bytes = b"") -> None:
        send(front, message(number, payload))
        receive(back)

    tell(SET_OWNER)
    ask(GET_FEATURES, pack("=Q", FEATURES))
    ask(GET_PROTOCOL_FEATURES, pack("=Q", PROTOCOL_FEATURES))
    tell(SET_PROTOCOL_FEATURES, pack("=Q", PROTOCOL_FEATURES))
    display = Display(front, back)
    tell(SET_FEATURES, pack("=Q", FEATURES))
    draw(display)
    display.close()
    front.close()
    assert back.recv(1) == b""


def vfio_user(front: socket.socket, back: socket.socket) -> None:
    """Every command; the device has a socket of its own for what it asks."""
    front.settimeout(10)
    back.settimeout(10)
    device = threading.Thread(target=Server(back).serve, daemon=True)
    device.start()
    client = Client(front)
    try:
        client.negotiate(write_multiple=True, twin_socket={"supported": True})
        use_all(client)
        try:
            client.ask(DEVICE_FEATURE, pack("=II", 8, 1 << 18 | 1 << 16 | 8))
        except Refused:
            pass
        else:
            raise AssertionError("the device answers a probe, which it knows nothing of")
    finally:
        client.close()
        device.join(10)


class Session(NamedTuple):
    """One to record."""

    name: str
    play: Callable[[socket.socket, socket.socket], None]


SESSIONS = (Session("gpu-synthetic", gpu), Session("vfio-user-synthetic", vfio_user))


def record(session: Session, capture: Path) -> None:
    """Play it through a relay that writes the capture."""
    with tempfile.TemporaryDirectory(prefix="vspy-") as folder:
        ours, theirs = f"{folder}/r.sock", f"{folder}/be.sock"
        listener = listening(theirs)
        command = [sys.executable, "-m", "vhostspy", "--listen", ours, "--connect", theirs, "--once", "-q", "-w"]
        relay = subprocess.Popen([*command, str(capture)], cwd=ROOT)
        try:
            front = reached(ours)
            back, _ = listener.accept()
            with front, back:
                session.play(front, back)
            if relay.wait(30):
                raise SystemExit(f"the relay ended with {relay.returncode}")
        finally:
            if relay.poll() is None:
                relay.send_signal(signal.SIGTERM)
                relay.wait(30)
            listener.close()


if __name__ == "__main__":
    for each in SESSIONS:
        record(each, Path(sys.argv[1], f"{each.name}.pcapng"))
