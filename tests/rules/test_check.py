"""``vhostspy check``: many captures against the rules, for people, programs and CI."""

from __future__ import annotations

import json
import os
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest

from vhostspy.cli import main
from vhostspy.commands.check import Progress
from vhostspy.output.findings import MOST_ALIKE

from ..output.captures import OWNER, recording, small

CAPTURES = sorted((Path(__file__).parents[2] / "captures").glob("*.pcapng"))
UNKNOWN = bytes.fromhex("2f000000 01000000 00000000")


def broken(path: Path) -> Path:
    """SET_OWNER twice (an error), and a message of a number that nobody knows (a warning)."""
    with recording(path) as recorded:
        recorded.event("open", text="session 1 begins")
        recorded.says(0, OWNER)
        recorded.says(0, OWNER)
        recorded.says(0, UNKNOWN)
        recorded.event("close", text="session 1 ends")
        recorded.event("end", session=0, text="the capture is complete")
    return path


Output = pytest.CaptureFixture[str]


def test_a_capture_with_nothing_wrong(tmp_path: Path, capsys: Output) -> None:
    assert main(["check", str(small(tmp_path / "a.pcapng"))]) == 0
    assert capsys.readouterr().out == "3 messages: nothing wrong\n"


def test_errors_are_listed_by_capture_and_counted_by_rule(tmp_path: Path, capsys: Output) -> None:
    good, bad = small(tmp_path / "good.pcapng"), broken(tmp_path / "bad.pcapng")
    assert main(["check", str(good), str(bad)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0] == str(bad)
    assert out[1].split()[:4] == ["#2", "error", "VU-OWN-02", "front-end:"]
    assert [line.split()[0] for line in out[4:7]] == ["rule", "VU-OWN-02", "VU-HDR-04"]
    assert out[-1] == "2 captures, 6 messages: 1 error, 1 warning"


def test_json_is_findings_alone(tmp_path: Path, capsys: Output) -> None:
    bad = str(broken(tmp_path / "bad.pcapng"))
    assert main(["check", "--json", bad]) == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["rule"] == "VU-OWN-02" and second["rule"] == "VU-HDR-04"
    assert (first["file"], first["session"], first["no"], first["evidence"]) == (bad, 1, 2, [1, 2])
    assert (first["severity"], first["who"]) == ("error", "front-end")


def test_rules_can_be_left_out(tmp_path: Path, capsys: Output) -> None:
    bad = str(broken(tmp_path / "bad.pcapng"))
    assert main(["check", "--disable", "VU-OWN-*,vu-hdr-04", bad]) == 0
    assert main(["check", "--disable", "VU-OWN-99", bad]) == 2
    assert "there is no rule 'VU-OWN-99' (did you mean VU-OWN-0" in capsys.readouterr().err


def test_what_is_accepted_stays_silent_and_what_is_new_fails(tmp_path: Path, capsys: Output) -> None:
    accepted, bad = tmp_path / "accepted.json", broken(tmp_path / "bad.pcapng")
    assert main(["check", str(bad), "--write-baseline", str(accepted)]) == 1
    assert main(["check", str(bad), "--baseline", str(accepted)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 messages: nothing wrong; 2 accepted"
    values = json.loads(accepted.read_text("utf-8"))
    values["findings"] = [one for one in values["findings"] if one["rule"] != "VU-OWN-02"]
    accepted.write_text(json.dumps(values), "utf-8")
    assert main(["check", str(bad), "--baseline", str(accepted)]) == 1


@pytest.mark.parametrize(
    "text", [b"[]", b"{}", b"\xff", b'{"vhostspy-baseline": 1}', b'{"vhostspy-baseline": 1, "findings": [1]}']
)
def test_a_baseline_that_is_none(tmp_path: Path, capsys: Output, text: bytes) -> None:
    accepted = tmp_path / "accepted.json"
    accepted.write_bytes(text)
    assert main(["check", str(small(tmp_path / "a.pcapng")), "--baseline", str(accepted)]) == 2
    said = f"vhostspy check: --baseline {accepted}: is no baseline; vhostspy check --write-baseline FILE makes one\n"
    assert capsys.readouterr().err == said


def test_a_baseline_with_a_slip_says_where_it_is(tmp_path: Path, capsys: Output) -> None:
    accepted = tmp_path / "accepted.json"
    accepted.write_text('{"vhostspy-baseline": 1,\n "findings" []}')
    assert main(["check", str(small(tmp_path / "a.pcapng")), "--baseline", str(accepted)]) == 2
    assert "is no baseline (Expecting ':' delimiter: line 2 column 13" in capsys.readouterr().err


def test_junit(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    good, bad = small(tmp_path / "good & fine.pcapng"), broken(tmp_path / "bad.pcapng")
    main(["check", str(good), str(bad), "--junit", str(report)])
    suite = ElementTree.parse(report).getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    first, second = suite
    assert (first.get("name"), len(first)) == (str(good), 0)
    failure, output = second
    assert failure.get("message") == "1 error" and "VU-OWN-02" in (failure.text or "")
    assert "VU-HDR-04" in (output.text or "")


def test_a_file_that_is_no_capture_is_told_of_and_the_others_are_checked(tmp_path: Path, capsys: Output) -> None:
    text = tmp_path / "text"
    text.write_text("hello", "utf-8")
    assert main(["check", str(text), str(tmp_path / "none"), str(small(tmp_path / "a.pcapng"))]) == 2
    out, err = capsys.readouterr()
    assert f"{text}: " in err and f"{tmp_path / 'none'}: No such file or directory" in err
    assert out.splitlines()[-1] == "3 captures, 3 messages: nothing wrong"


def test_show_says_below_a_message_what_is_wrong(tmp_path: Path, capsys: Output) -> None:
    bad = str(broken(tmp_path / "bad.pcapng"))
    assert main(["show", bad, "--validate", "--no-summary"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(place for place, line in enumerate(lines) if "VU-OWN-02" in line)
    assert lines[at].startswith("      ● error: front-end: SET_OWNER: expected once")
    assert lines[at - 1].lstrip().startswith("2 ")


def test_a_filter_that_asks_for_findings_has_them(tmp_path: Path, capsys: Output) -> None:
    bad = str(broken(tmp_path / "bad.pcapng"))
    main(["show", bad, "-Y", "finding >= error", "--json", "--no-summary"])
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["no"], line["findings"][0]["rule"]) == (2, "VU-OWN-02")


#: what real programs really do wrong: QEMU's vhost-user-gpu acknowledges what its guest took, offered or not
KNOWN = {"gpu-sid": "VU-NEG-01"}


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_sessions_of_real_programs_have_no_error(capture: Path, capsys: Output) -> None:
    known = KNOWN.get(capture.stem)
    without = ["--disable", known] if known else []
    assert main(["check", "-q", *without, str(capture)]) == 0, capsys.readouterr().out
    if known:
        assert main(["check", "-q", str(capture)]) == 1
        assert f" error    {known} " in capsys.readouterr().out


def test_of_many_alike_the_first_are_listed_and_all_are_counted(tmp_path: Path, capsys: Output) -> None:
    with recording(tmp_path / "many.pcapng") as recorded:
        recorded.event("open", text="session 1 begins")
        for _ in range(30):
            recorded.says(0, OWNER)
    assert main(["check", str(tmp_path / "many.pcapng")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum("VU-OWN-02" in line and "#" in line for line in lines) == MOST_ALIKE
    assert f"          error    VU-OWN-02   and {29 - MOST_ALIKE} more like these" in lines
    assert lines[-1] == "30 messages: 29 errors"
    assert main(["check", "--json", str(tmp_path / "many.pcapng")]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 29


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_knows_how_far_every_capture_was_read(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("a", "b")]
    for file in files:
        Path(file).write_bytes(bytes(1000))
    terminal = Terminal()
    progress = Progress(terminal, files)
    progress.of(0)(500)
    progress.of(1)(500)
    assert terminal.getvalue() == ""
    progress.show()
    assert terminal.getvalue() == f"\r[{'#' * 16}{' ' * 16}] 0 of 2 captures"
    progress.file_done(0)
    assert terminal.getvalue().endswith(f"\r[{'#' * 24}{' ' * 8}] 1 of 2 captures")
    progress.clear()
    assert terminal.getvalue().endswith("\r\x1b[K")
    elsewhere = StringIO()
    Progress(elsewhere, files).file_done(0)
    assert elsewhere.getvalue() == ""


def test_a_process_that_is_ended_is_told_of(tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vhostspy.commands.check.check", lambda *_: os._exit(9))
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    assert main(["check", str(small(tmp_path / "a.pcapng")), str(small(tmp_path / "b.pcapng"))]) == 3
    assert capsys.readouterr().err == "vhostspy check: a process that checked captures was ended\n"


def test_a_file_that_is_not_there_is_not_called_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "/nowhere.pcapng"]) == 2
    out, err = capsys.readouterr()
    assert out == "0 messages: nothing could be checked\n"
    assert "/nowhere.pcapng" in err
