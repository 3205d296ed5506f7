"""tshark with our dissector, run as a person would: newer ones load no Lua as root.

It is this machine's, or the one of a chroot with Debian's unstable release (``tests/peers/sid.sh``).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from vhostspy import wireshark
from vhostspy.dissectors import registry

from .synthetic import write

#: an object of JSON as tshark writes it: names may come again, and their order counts
Pairs = list[tuple[str, Any]]

NOBODY = 65534


class Tshark(NamedTuple):
    """A folder that an ordinary user may read, with the dissector in it; paths are this process's."""

    folder: Path
    script: Path
    #: the chroot that it runs in; None: none
    root: Path | None = None

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line for these arguments."""
        inside = [self.inside(argument) for argument in arguments]
        if os.geteuid() != 0:
            return ["tshark", *inside]
        assert shutil.which("setpriv"), "setpriv of util-linux is needed to run tshark as an ordinary user"
        somebody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        return [*(["chroot", str(self.root)] if self.root else []), *somebody, "tshark", *inside]

    def inside(self, argument: str | Path) -> str:
        """The argument, paths in it as tshark sees them."""
        return str(argument).replace(str(self.root), "") if self.root else str(argument)

    def run(self, *arguments: str | Path) -> str:
        """What it prints with our dissector. Fails where it does, or Lua."""
        done = self.start("-X", f"lua_script:{self.script}", *arguments)
        assert "Lua Error" not in done.stdout, re.findall(".*Lua Error.*", done.stdout)[:3]
        assert not re.search(r"lua|bug|assert", done.stderr, re.IGNORECASE), done.stderr
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *arguments: str | Path, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        """tshark as it is, for a user with this home, without our dissector if it is not named."""
        place = self.inside(home or self.folder)
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
            check=False,
            env={**os.environ, "HOME": place, "XDG_CONFIG_HOME": place, "LC_ALL": "C.UTF-8"},
        )

    def file(self, name: str, octets: bytes) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_bytes(octets)
        path.chmod(0o644)
        return path

    def layers(self, capture: Path, protocols: Iterable[str] = registry.PROTOCOLS) -> list[Pairs]:
        """Of each packet the layers of vhostspy and these protocols, in order."""
        chosen = " ".join(("vhostspy", *(name.replace("-", "_") for name in protocols)))
        text = self.run("-r", capture, "-T", "json", "-J", chosen)
        packets = json.loads(text, object_pairs_hook=list)
        return [dict(dict(packet)["_source"])["layers"] for packet in packets]

    def column(self, capture: Path, column: str = "%i", *arguments: str) -> list[str]:
        """What the list shows in a column, a line a packet."""
        return self.run("-r", capture, "-o", f'gui.column.format:"Column","{column}"', *arguments).splitlines()


@contextmanager
def new_tshark(root: Path | None = None) -> Iterator[Tshark]:
    """A folder of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="vhostspy-tshark-", dir=root / "tmp" if root else None) as name:
        folder = Path(name)
        folder.chmod(0o755)
        tshark = Tshark(folder, folder / "vhostspy.lua", root)
        tshark.script.write_text(wireshark.dissector(), encoding="utf-8")
        tshark.script.chmod(0o644)
        # a filter with a field that there is not fails
        nothing = write(folder / "nothing.pcapng", [])
        assert tshark.run("-r", nothing, "-Y", "vhost_user.request") == ""
        yield tshark
