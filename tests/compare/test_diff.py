"""``vhostspy diff``: for people, for programs, its exit status, and what its document shows."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest

from vhostspy.cli import main

ROOT = Path(__file__).parents[2]
C, SID = str(ROOT / "captures" / "c.pcapng"), str(ROOT / "captures" / "c-sid.pcapng")
Output = pytest.CaptureFixture[str]


def test_the_same(capsys: Output) -> None:
    assert main(["diff", C, C]) == 0
    out = capsys.readouterr().out
    assert "     1–50    1–50    50 messages the same\n" in out
    assert out.endswith("1 session, the same: 50 the same\n")


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "captures").glob("*.pcapng")))
def test_each_capture_is_the_same_as_itself(name: str, capsys: Output) -> None:
    for match in ("exact", "semantic", "shape"):
        assert main(["diff", "--match", match, *[str(ROOT / "captures" / name)] * 2]) == 0


def test_a_difference_has_its_members_and_both_numbers(capsys: Output) -> None:
    assert main(["diff", C, SID]) == 1
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if "GET_MAX_MEM_SLOTS" in line)
    assert line.split() == ["~", "9", "9", "←", "back-end", "GET_MAX_MEM_SLOTS", "reply", "slots", "32", "→", "509"]
    assert "                    only in A: SIZE_MAX" in lines
    assert not any("\x1b" in line for line in lines)


def test_bits_of_a_word_are_in_one_line(capsys: Output) -> None:
    gpu = [str(ROOT / "captures" / f"gpu-{name}.pcapng") for name in ("sid", "synthetic")]
    assert main(["diff", *gpu]) == 1
    out = capsys.readouterr().out
    assert "features - EDID, NOTIFY_ON_EMPTY, LOG_ALL, INDIRECT_DESC, EVENT_IDX\n" in out
    main(["diff", *reversed(gpu)])
    assert "features + EDID, NOTIFY_ON_EMPTY, LOG_ALL, INDIRECT_DESC, EVENT_IDX\n" in capsys.readouterr().out


def test_vfio_user_has_its_own_negotiation(capsys: Output) -> None:
    assert (
        main(["diff", *(str(ROOT / "captures" / f"{name}.pcapng") for name in ("v-sid", "vfio-user-synthetic"))]) == 1
    )
    out = capsys.readouterr().out
    assert "  client capabilities.max_msg_fds                A 16, B 8\n" in out
    assert "virtio" not in out.partition("VERSION")[0]


def test_negotiation_comes_first(capsys: Output) -> None:
    main(["diff", C, SID])
    out = capsys.readouterr().out
    assert out.index("virtio offered") < out.index("protocol agreed") < out.index("GET_FEATURES")


def test_json(capsys: Output) -> None:
    assert main(["diff", "--json", C, SID]) == 1
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert values[0] == {"diff": "session", "session": {"a": 1, "b": 1}, "same": False}
    (agreed,) = (value for value in values if value.get("about") == "virtio agreed")
    assert (agreed["only_a"], agreed["only_b"], agreed["same"]) == (["SIZE_MAX"], [], False)
    (slots,) = (value for value in values if value.get("message") == "GET_MAX_MEM_SLOTS")
    assert slots["differences"] == [{"member": "slots", "a": 32, "b": 509}]
    assert (slots["how"], slots["a"], slots["b"], slots["kind"], slots["from"]) == (
        "changed",
        9,
        9,
        "reply",
        "back-end",
    )
    assert values[-1] == {
        "diff": "summary", "same": False, "same_messages": 24, "changed": 26, "missing": 0, "extra": 18, "moved": 0,
    }  # fmt: skip


def test_junit(tmp_path: Path, capsys: Output) -> None:
    report = tmp_path / "report.xml"
    assert main(["diff", "--junit", str(report), C, SID]) == 1
    cases = ElementTree.parse(report).findall(".//testcase")
    assert [case.get("name") for case in cases] == ["session 1: negotiation", "session 1: messages"]
    (failure,) = cases[0].iter("failure")
    assert "memory slots: A 32, B 509" in (failure.text or "")
    main(["diff", "--junit", str(report), C, C])
    assert not [*ElementTree.parse(report).iter("failure")]


def test_a_session_more_is_a_difference(capsys: Output) -> None:
    assert main(["diff", str(ROOT / "captures" / "ji.pcapng"), str(ROOT / "captures" / "j.pcapng")]) == 1
    assert "session 3, only in B" in capsys.readouterr().out


def test_shape_lets_another_back_end_pass(capsys: Output) -> None:
    """The same QEMU before a back-end that was started twice: addresses differ, and how far rings have come."""
    assert main(["diff", str(ROOT / "captures" / "g.pcapng"), str(ROOT / "captures" / "k.pcapng")]) == 0
    assert main(["diff", "--match", "exact", *(str(ROOT / "captures" / f"{c}.pcapng") for c in "gk")]) == 1


def test_wrong_use(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "no.pcapng").write_bytes(b"no capture")
    assert main(["diff", C, str(tmp_path / "no.pcapng")]) == 2
    assert "no.pcapng" in capsys.readouterr().err
    assert main(["diff", C, str(tmp_path / "none.pcapng")]) == 2
    assert main(["diff", "-", "-"]) == 2
    assert main(["diff", "--match", "semantics", C, C]) == 2
    assert "semantic" in capsys.readouterr().err


def test_the_document_shows_what_is_printed(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "diff.md").read_text("utf-8")
    command = re.search(r"^\$ vhostspy (.*)$", text, re.MULTILINE)
    shown = re.search(r"<!-- output -->\n```\n(.*?)```", text, re.DOTALL)
    assert command and shown
    monkeypatch.chdir(ROOT)
    main(shlex.split(command[1]))
    assert shown[1] == capsys.readouterr().out
