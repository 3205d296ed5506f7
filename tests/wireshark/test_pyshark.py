"""pyshark gives the members that we do, through the helper that the documentation shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.dissectors.samples import SAMPLES

from .compare import Members, alike, messages, ours
from .synthetic import said, write
from .test_members import CAPTURES
from .tshark import Tshark

#: run by itself: pyshark has an event loop and warnings of its own
PROGRAM = """
import json, sys
from pyshark.capture.capture import TSharkCrashException
from vhostspy.wireshark import open_capture

for path in sys.argv[2:]:
    capture = open_capture(path, tshark_path=sys.argv[1], keep_packets=False)
    for packet in capture:
        for layer in packet.layers:
            if layer.layer_name in ("vhost_user", "vhost_user_gpu", "vfio_user"):
                found = {
                    name.removeprefix(layer.layer_name + "."): [each.show or "" for each in field.all_fields]
                    for name, field in layer._all_fields.items()
                }
                print(json.dumps([path, int(packet.vhostspy.no), found]))
    try:
        capture.close()
    except TSharkCrashException as error:
        # asyncio may lose the status of a program that ends just when it is killed; the test sees whether all has come
        if "retcode: 255" not in str(error):
            raise
"""


@pytest.fixture(scope="module")
def program(tshark: Tshark) -> Path:
    """A tshark for pyshark, which runs as an ordinary user."""
    if find_spec("pyshark") is None:
        missing("not installed here: pyshark")
    # the paths that pyshark gives are this process's
    inside = f'set -- "$@" "$(printf %s "$each" | sed "s|{tshark.root}||")"; shift' if tshark.root else ":"
    command = f'for each; do {inside}; done\nexec {" ".join(tshark.command())} "$@"'
    path = tshark.file("tshark", f"#!/bin/sh\n{command}\n".encode())
    path.chmod(0o755)
    return path


def flat(members: Members) -> dict[str, list[object]]:
    """Values by name, wherever they are; structures by their number."""
    found: dict[str, list[object]] = {}
    for name, value in members:
        found.setdefault(name, [])
        if isinstance(value, list):
            found[name].append("")
            for inner, values in flat(value).items():
                found.setdefault(inner, []).extend(values)
        else:
            found[name].append(value)
    return found


def test_every_member(tshark: Tshark, program: Path) -> None:
    """Of every capture, and every sample."""
    samples = [said(sample) for sample in SAMPLES if not sample.context.device]
    captures = [write(tshark.folder / "samples.pcapng", samples)]
    captures += [tshark.file(f"recorded-{path.name}", path.read_bytes()) for path in CAPTURES]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, program, *captures],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "TMPDIR": str(tshark.folder)},
    )
    assert done.returncode == 0, done.stderr
    known = {
        (str(path), message.no): message
        for path in captures
        for message in messages(path)
        if message.kind != "raw" and message.original is None
    }
    unseen = set(known)
    for line in done.stdout.splitlines():
        path, number, members = json.loads(line)
        message = known.get((path, number))
        if message is None:
            continue
        unseen.discard((path, number))
        for name, values in flat(ours(message)).items():
            wanted: Members = [(name, value) for value in values]
            found: Members = [(name, value) for value in members.get(name, [])]
            if values and values[0] == "":
                assert len(found) == len(values), (path, message.name, name)
            else:
                assert alike(wanted, found) == wanted, (path, message.name, name)
    assert not unseen


def test_the_dissector_goes_with_the_capture(tshark: Tshark, program: Path) -> None:
    """Its file is there as long as the capture, and not longer."""
    code = (
        "import sys, glob, tempfile; from vhostspy.wireshark import open_capture; tempfile.tempdir = sys.argv[3]\n"
        "capture = open_capture(sys.argv[1], tshark_path=sys.argv[2], custom_parameters={'-c': '1'})\n"
        "print(len(glob.glob(sys.argv[3] + '/*.lua')), len(list(capture))); capture.close(); del capture\n"
        "import gc; gc.collect(); print(len(glob.glob(sys.argv[3] + '/*.lua')))"
    )
    folder = tshark.folder / "temporary"
    folder.mkdir()
    folder.chmod(0o755)
    capture = write(tshark.folder / "samples.pcapng", [said(SAMPLES[0])])
    done = subprocess.run(
        [sys.executable, "-c", code, capture, program, folder], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1 1\n0\n"), done.stderr
