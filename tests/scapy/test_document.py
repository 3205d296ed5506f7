"""The examples of docs/scapy.md, run as they stand: against a capture, and a back-end that listens."""

from __future__ import annotations

import doctest
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from scapy.config import conf

from vhostspy.demo import endpoint
from vhostspy.dissectors import scapy_layers
from vhostspy.dissectors.scapy_layers import VhostUser

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "scapy.md"


@pytest.fixture
def place(tmp_path: Path, capture: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the document's files, and a back-end that listens on its back.sock. Added rows are taken back."""
    copy(capture, tmp_path)
    example, *_ = re.findall(r"```python\n(.*?)```", (DOCUMENT.parent / "dissectors.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / "my_draft.py").write_text(example)
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "vhostspy.demo.back_end", "--listen", "back.sock"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as back_end:
        try:
            endpoint.connect("back.sock").close()  # waits until it listens
            yield tmp_path
        finally:
            back_end.send_signal(signal.SIGTERM)
            back_end.communicate(timeout=20)
            VhostUser.channel.messages.pop((0, 200), None)
            VhostUser.rows.pop(200, None)
            VhostUser.names.pop(200, None)


def test_the_examples_are_true(place: Path) -> None:
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        # all of scapy, with what it warns of on some machines (libpcap, cryptography)
        warnings.simplefilter("ignore")
        exec("from scapy.all import *", names)
    test = doctest.DocTestParser().get_doctest(
        DOCUMENT.read_text("utf-8").replace("```\n", "\n"), names, DOCUMENT.name, str(DOCUMENT), 0
    )
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    colours = conf.color_theme
    runner.run(test, out=said.append)
    conf.color_theme = colours
    assert (runner.failures, runner.tries > 30) == (0, True), "".join(said)
    assert (place / "made.pcapng").exists()


def test_what_the_document_names_exists() -> None:
    named = set(
        re.findall(r"\bV(?:HOST_USER|FIO_USER)_[A-Z0-9_]+\b|\bV(?:hostUser|fioUser|hostspy)\w*", DOCUMENT.read_text())
    )
    assert len(named) > 15
    assert named - set(scapy_layers.__all__) - {"VHOST_USER_SET_VRING_SHARE"} == set()
