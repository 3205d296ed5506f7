"""``vhostspy wireshark``: our dissector for Wireshark, printed, or put where Wireshark looks for it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from argparse import ArgumentTypeError
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from vhostspy import wireshark
from vhostspy.errors import Failure, WrongUse

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

FILE = "vhostspy.lua"

MORE = """\
examples:
  vhostspy wireshark --install
        from now on Wireshark and tshark decode captures of vhostspy
  vhostspy wireshark > vhostspy.lua; tshark -X lua_script:vhostspy.lua -r session.pcapng
        this once
  vhostspy --listen a.sock --connect b.sock -w - | wireshark -k -i -
        watch a session

docs/wireshark.md tells more.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.epilog = MORE
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--install", action="store_true", help="put it into Wireshark's folder for personal plug-ins")
    choice.add_argument("--uninstall", action="store_true", help="take it away again")
    choice.add_argument(
        "--colours", "--colors", action="store_true", help="print colour rules, for View > Coloring Rules > Import"
    )
    parser.add_argument("--folder", metavar="FOLDER", type=folder, help="where to put it, if not where tshark says")


def folder(text: str) -> Path:
    """An argument's type. A variable that is not set would name the folder that one is in."""
    if not text:
        raise ArgumentTypeError("expected a folder's name, not ''")
    return Path(text)


def run(options: Namespace) -> int:
    if options.folder is not None and not (options.install or options.uninstall):
        raise WrongUse("--folder says where to --install or --uninstall")
    if options.install or options.uninstall:
        place, how = (options.folder, "as --folder says") if options.folder is not None else personal_folder()
        return install(place, how) if options.install else uninstall(place)
    sys.stdout.write(wireshark.colours() if options.colours else wireshark.dissector())
    return 0


def personal_folder() -> tuple[Path, str]:
    """The folder of personal Lua plug-ins, and how we know: tshark says it, or it is the documented one."""
    program = shutil.which("tshark")
    if program is not None:
        try:
            said = subprocess.run([program, "-G", "folders"], capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            said = None
        found = re.search(r"^Personal Lua Plugins:\s*(\S.*)$", said.stdout, re.MULTILINE) if said is not None else None
        if found is not None:
            return Path(found[1].strip()), "where tshark looks for plug-ins"
    home = os.environ.get("HOME")
    if not home:
        raise WrongUse("there is no tshark to ask for its folders, and no $HOME: say --folder")
    return Path(home, ".local/lib/wireshark/plugins"), "Wireshark's usual place; there is no tshark to ask"


def install(folder: Path, how: str) -> int:
    path = folder / FILE
    text = wireshark.dissector()
    before = _ours(path)
    if before is False:
        raise WrongUse(f"{path} is there already and is not vhostspy's: it stays as it is; remove it first")
    if before == text:
        print(f"{path} is there already, and up to date")
        return 0
    # a Wireshark that starts just now finds the old or the new one, never a part
    new = folder / f".{FILE}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        raise Failure(f"{error.filename or path}: {error.strerror}; --folder FOLDER is another place") from None
    print(f"{'installed' if before is None else 'renewed'}: {path} ({how})")
    print("Wireshark and tshark decode captures of vhostspy from their next start on, or Analyze > Reload Lua Plugins")
    undo = "vhostspy wireshark --uninstall" + ("" if how != "as --folder says" else f" --folder {folder}")
    print(f"to undo it: {undo}")
    if os.geteuid() == 0:
        print("note: newer Wiresharks load no Lua as root; run them as the user you are otherwise")
    return 0


def uninstall(folder: Path) -> int:
    path = folder / FILE
    before = _ours(path)
    if before is None:
        print(f"{path} is not there: nothing to do")
        return 0
    if before is False:
        raise WrongUse(f"{path} is not vhostspy's: it stays")
    try:
        path.unlink()
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
    print(f"removed: {path}")
    return 0


def _ours(path: Path) -> str | bool | None:
    """The dissector that is there; None: there is nothing; False: it is somebody else's."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
    return text if text.startswith(wireshark.FIRST_LINE) else False
