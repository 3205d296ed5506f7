"""Live is as from a file: through a real relay, between two peers of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

TIMEOUT_S = 60


def started(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(path: Path) -> None:
    until = monotonic() + TIMEOUT_S
    while not path.exists():
        assert monotonic() < until, f"{path} does not appear"
        sleep(0.005)


@pytest.mark.parametrize("form", [["--json"], ["-v"], ["-Y", "message == *CONFIG* || pending"]])
def test_what_was_shown_live_is_shown_again(form: list[str], tmp_path: Path) -> None:
    listen, connect, capture = (str(tmp_path / name) for name in ("a.sock", "b.sock", "c.pcapng"))
    processes = [started("vhostspy.demo.back_end", "--listen", connect, "--once", "--grow-after", "4")]
    try:
        wait_for(Path(connect))
        relay = started("vhostspy", "--listen", listen, "--connect", connect, "--once", "-w", capture, *form)
        processes.append(relay)
        wait_for(Path(listen))
        processes.append(started("vhostspy.demo.front_end", "--connect", listen, "--expect-growth"))
        live, errors = relay.communicate(timeout=TIMEOUT_S)
        assert relay.returncode == 0, errors.decode()
        for process in processes:
            process.communicate(timeout=TIMEOUT_S)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    shown = subprocess.run(
        [sys.executable, "-m", "vhostspy", "show", capture, *form], capture_output=True, timeout=TIMEOUT_S, check=True
    )
    assert shown.stderr == b""
    assert live.decode().splitlines() == shown.stdout.decode().splitlines()
    if form == ["--json"]:
        values = [json.loads(line) for line in live.splitlines()]
        assert values[-1]["event"] == "summary"
        assert values[-1]["unanswered"] == []
        messages = [value for value in values if "kind" in value]
        assert [value["no"] for value in messages] == list(range(1, len(messages) + 1))
        assert {value["channel"] for value in messages} == {"main", "backend"}
        answered = {value["answers"] for value in messages if value["kind"] in ("reply", "ack")}
        assert None not in answered
