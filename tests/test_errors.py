"""What a mistyped word may have been: a suggestion is likely, or there is none."""

from __future__ import annotations

import pytest

from vhostspy.cli import COMMANDS, main
from vhostspy.dissectors import virtio
from vhostspy.nearest import alike, nearest

DEVICES = [name for device in virtio.DEVICES.values() for name in (device.name, *device.aliases)]
OPTIONS = ["--listen", "--connect", "--write", "--json", "--junit", "--filter", "--once", "--quiet", "--as", "--hex"]
MESSAGES = ["GET_FEATURES", "SET_FEATURES", "SET_VRING_NUM", "SET_VRING_KICK", "SET_MEM_TABLE"]


@pytest.mark.parametrize(
    ("words", "typed", "meant"),
    [
        # one slip of short words, two and three of longer ones
        (COMMANDS, "shwo", "show"),
        (COMMANDS, "chek", "check"),
        (COMMANDS, "wirehsrak", "wireshark"),
        (DEVICES, "netwrok", "network"),
        (DEVICES, "ic2", "i2c"),
        (DEVICES, "soket", "socket"),
        (OPTIONS, "--quite", "--quiet"),
        (MESSAGES, "SET_VRING_KIK", "SET_VRING_KICK"),
        # beginnings, parts, some of the words; case and strokes do not count
        (COMMANDS, "dif", "diff"),
        (COMMANDS, "play", "replay"),
        (OPTIONS, "--list", "--listen"),
        (MESSAGES, "set-mem", "SET_MEM_TABLE"),
        (MESSAGES, "kick", "SET_VRING_KICK"),
        (MESSAGES, "set kick", "SET_VRING_KICK"),
        (["vhost-user", "vfio-user"], "vhostuser", "vhost-user"),
        # what is near, but no slip
        (DEVICES, "diks", "disk"),
        (["block", "ism"], "disk", None),
        (["can", "i2c", "spi"], "cam", None),
        (DEVICES, "pci", None),
        (DEVICES, "ssd", None),
        (DEVICES, "nvme", None),
        (OPTIONS, "--out", None),
        (OPTIONS, "--xml", None),
        (OPTIONS, "--socket", None),
        (COMMANDS, "tail", None),
        (COMMANDS, "", None),
        (COMMANDS, "--", None),
        ([], "show", None),
    ],
)
def test_a_word_that_is_none(words: list[str], typed: str, meant: str | None) -> None:
    assert alike(typed, words) == meant
    assert nearest(typed, words) == (f" (did you mean {meant}?)" if meant else "")


def test_a_device_is_known_by_the_name_that_people_have_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "/dev/null", "--device", "dsk"]) == 2
    assert "there is no device 'dsk' (did you mean disk?)" in capsys.readouterr().err
    assert main(["show", "/dev/null", "--device", "disk"]) == 2
    assert "--device" not in capsys.readouterr().err


def test_what_help_does_not_list_is_looked_up_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "/dev/null", "--device", "quux"]) == 2
    assert capsys.readouterr().err == (
        "vhostspy show: --device: there is no device 'quux'; vhostspy explain lists them\n"
    )
    assert main(["check", "/dev/null", "--disable", "quux"]) == 2
    assert capsys.readouterr().err == (
        "vhostspy check: --disable: there is no rule 'QUUX'; vhostspy explain lists them\n"
    )
