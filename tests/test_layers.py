"""What a command loads: the relay starts fast and owes nothing to analysis; ``--version`` needs nothing at all.

import-linter checks the arrows between our modules; here a fresh interpreter shows what really comes in.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: what the relay's process must not load: each costs more than the relay itself, or is not the relay's business
HEAVY = {
    "argparse",
    "asyncio",
    "concurrent",
    "dataclasses",
    "email",
    "importlib.metadata",
    "inspect",
    "logging",
    "scapy",
    "subprocess",
    "textual",
    "tempfile",
    "typing_extensions",
    "vhostspy.filter",
    "vhostspy.output",
    "vhostspy.pipeline",
    "vhostspy.tui",
}


def loaded_after(code: str, checkout: Path) -> set[str]:
    """The modules of a fresh interpreter that ran ``code``, and every package above them."""
    script = f"import sys\n{code}\nsys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run(
        # -S: an environment's own start-up files would be counted as ours
        [sys.executable, "-S", "-c", script],
        cwd=checkout,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=True,
    )
    return set(done.stderr.split())


def test_the_relay_loads_nothing_heavy(checkout: Path) -> None:
    modules = loaded_after("import vhostspy.commands.relay, vhostspy.launch.running", checkout)
    assert "vhostspy.relay.loop" in modules
    assert not modules & HEAVY


def test_the_relay_listens_before_it_loads_more_than_its_options(checkout: Path, tmp_path: Path) -> None:
    wrong_use = [f"--listen={tmp_path}", f"--connect={tmp_path / 'b'}"]  # a folder: refused where others would listen
    modules = loaded_after(f"from vhostspy.cli import main\nassert main({wrong_use!r}) == 2", checkout)
    assert "vhostspy.relay.endpoint" in modules
    assert not modules & (HEAVY - {"argparse"})
    assert not modules & {"vhostspy.capture", "vhostspy.dissectors.rows", "vhostspy.relay.loop", "vhostspy.rules"}


def test_version_loads_nothing(checkout: Path) -> None:
    before = loaded_after("", checkout)
    modules = loaded_after("from vhostspy.cli import main\nmain(['--version'])", checkout) - before
    assert modules == {"__future__", "vhostspy", "vhostspy.cli"}


@pytest.mark.parametrize("part", ["framer", "policy"])
def test_the_core_of_the_relay_reads_no_socket(part: str, checkout: Path) -> None:
    modules = loaded_after(f"import vhostspy.relay.{part}", checkout)
    assert not modules & {"socket", "select", "selectors", "textual", "scapy"}
