"""tshark with our dissector, run as a person would: newer ones load no Lua as root."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from vhostspy import wireshark

from .synthetic import write

#: an object of JSON as tshark writes it: names may come again, and their order counts
Pairs = list[tuple[str, Any]]

NOBODY = 65534


class Tshark(NamedTuple):
    """A folder that an ordinary user may read, with the dissector in it."""

    folder: Path
    script: Path

    def run(self, *arguments: str | Path, check: bool = True) -> str:
        """What it prints. Fails where Lua does."""
        done = self.start("-X", f"lua_script:{self.script}", *arguments)
        assert "Lua Error" not in done.stdout, re.findall(".*Lua Error.*", done.stdout)[:3]
        assert not re.search(r"lua|bug|assert", done.stderr, re.IGNORECASE), done.stderr
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def start(self, *arguments: str | Path, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        """tshark as it is, for a user with this home, without our dissector if it is not named."""
        home = home or self.folder
        return subprocess.run(
            [*as_somebody(), "tshark", *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
            check=False,
            env={**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home)},
        )

    def file(self, name: str, octets: bytes) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_bytes(octets)
        path.chmod(0o644)
        return path

    def layers(self, capture: Path, *arguments: str) -> list[Pairs]:
        """Of each packet the layers of vhostspy, in order."""
        chosen = " ".join(("vhostspy", *(name.replace("-", "_") for name in wireshark.PROTOCOLS)))
        text = self.run("-r", capture, "-T", "json", "-J", chosen, *arguments)
        packets = json.loads(text, object_pairs_hook=list)
        return [dict(dict(packet)["_source"])["layers"] for packet in packets]

    def column(self, capture: Path, column: str = "%i", *arguments: str) -> list[str]:
        """What the list shows in a column, a line a packet."""
        return self.run("-r", capture, "-o", f'gui.column.format:"Column","{column}"', *arguments).splitlines()


def as_somebody() -> list[str]:
    """What makes a command run as an ordinary user; nothing if this is one."""
    if os.geteuid() != 0:
        return []
    assert shutil.which("setpriv"), "setpriv of util-linux is needed to run tshark as an ordinary user"
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


@contextmanager
def new_tshark() -> Iterator[Tshark]:
    """A folder of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="vhostspy-tshark-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        tshark = Tshark(folder, folder / "vhostspy.lua")
        tshark.script.write_text(wireshark.dissector(), encoding="utf-8")
        tshark.script.chmod(0o644)
        # a filter with a field that there is not fails
        nothing = write(folder / "nothing.pcapng", [])
        assert tshark.run("-r", nothing, "-Y", "vhost_user.request") == ""
        yield tshark
