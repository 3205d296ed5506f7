"""``vhostspy wireshark``: printed, installed, taken away; never over what is somebody else's."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vhostspy import wireshark
from vhostspy.cli import main

from .synthetic import write
from .tshark import Tshark


def test_prints_the_dissector(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wireshark"]) == 0
    assert capsys.readouterr().out == wireshark.dissector()


def test_prints_colour_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wireshark", "--colours"]) == 0
    assert capsys.readouterr().out.count("\n@vhostspy: ") == wireshark.colours().count("@vhostspy: ")


def test_installs_renews_and_takes_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a folder" / "plugins"
    path = folder / "vhostspy.lua"
    assert main(["wireshark", "--install", "--folder", str(folder)]) == 0
    said = capsys.readouterr().out
    assert f"installed: {path}" in said
    assert f"to undo it: vhostspy wireshark --uninstall --folder {folder}" in said
    assert path.read_text(encoding="utf-8") == wireshark.dissector()
    assert main(["wireshark", "--install", "--folder", str(folder)]) == 0
    assert "up to date" in capsys.readouterr().out
    path.write_text(wireshark.FIRST_LINE + "\n-- an older one\n", encoding="utf-8")
    assert main(["wireshark", "--install", "--folder", str(folder)]) == 0
    assert f"renewed: {path}" in capsys.readouterr().out
    assert os.listdir(folder) == ["vhostspy.lua"]
    assert main(["wireshark", "--uninstall", "--folder", str(folder)]) == 0
    assert capsys.readouterr().out == f"removed: {path}\n"
    assert main(["wireshark", "--uninstall", "--folder", str(folder)]) == 0
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--install", "--uninstall"])
def test_leaves_foreign_files_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    path = tmp_path / "vhostspy.lua"
    path.write_text("-- mine\n")
    assert main(["wireshark", option, "--folder", str(tmp_path)]) == 2
    assert "is not vhostspy's" in capsys.readouterr().err
    assert path.read_text() == "-- mine\n"


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["wireshark", "--install", "--folder", str(tmp_path / "file" / "below")]) == 3
    assert "Not a directory" in capsys.readouterr().err


def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, text: str, encoding: str) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    assert main(["wireshark", "--install", "--folder", str(tmp_path)]) == 3
    assert f"{tmp_path / 'vhostspy.lua'}: No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_folder_alone_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wireshark", "--folder", "x"]) == 2
    assert "--install" in capsys.readouterr().err


def test_without_tshark_it_is_the_documented_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["wireshark", "--install"]) == 0
    assert (tmp_path / ".local/lib/wireshark/plugins/vhostspy.lua").exists()
    assert "there is no tshark to ask" in capsys.readouterr().out
    monkeypatch.delenv("HOME")
    assert main(["wireshark", "--install"]) == 2
    assert "--folder" in capsys.readouterr().err


def test_tshark_finds_what_was_installed(tshark: Tshark, capsys: pytest.CaptureFixture[str]) -> None:
    """Installed for a user, it is found by that user's tshark, and by no other."""
    home = tshark.folder / "home"
    home.mkdir()
    home.chmod(0o777)
    folder = re.findall(r"Personal Lua Plugins:\s*(.*)", tshark.start("-G", "folders", home=home).stdout)[0]
    folder = f"{tshark.root or ''}{folder}"
    assert main(["wireshark", "--install", "--folder", folder]) == 0
    assert capsys.readouterr().out
    nothing = write(tshark.folder / "empty.pcapng", [])
    test = ("-r", nothing, "-Y", "vhost_user.request")
    found = tshark.start(*test, home=home)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    # loaded twice, it is there once
    found = tshark.start("-X", f"lua_script:{tshark.script}", *test, home=home)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    assert tshark.start(*test).returncode != 0


def test_another_script_may_have_the_name(tshark: Tshark) -> None:
    """Names of protocols are global; one that is taken gets ours in front, and the others keep theirs."""
    taken = tshark.file("taken.lua", b'local p = Proto("vfio_user", "somebody else\'s")\n')
    nothing = write(tshark.folder / "empty.pcapng", [])
    scripts = ("-X", f"lua_script:{taken}", "-X", f"lua_script:{tshark.script}")
    done = tshark.start(*scripts, "-r", nothing, "-Y", "vhostspy_vfio_user.msgid && vhost_user.request")
    said = "vhostspy: another script has the name vfio_user: fields begin with vhostspy_vfio_user. here\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", said)


@pytest.mark.skipif(shutil.which("lua5.4") is None, reason="not installed here: lua5.4, which Wireshark 4.4 runs")
def test_compiles_with_lua_5_4(tshark: Tshark) -> None:
    subprocess.run(["lua5.4", "-e", f"assert(loadfile('{tshark.script}'))"], check=True, timeout=60)


def test_version_is_not_slowed_down() -> None:
    """What nobody asked for is not imported."""
    code = "import sys, vhostspy.cli; sys.exit(any(name.endswith('wireshark') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
