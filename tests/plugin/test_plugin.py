"""pytest inside pytest: what a project sees that has vhostspy installed, and tests its own front-end or back-end."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from xml.etree import ElementTree

import pytest

import vhostspy.testing  # noqa: F401  (loaded here, it need not be loaded for each of the runs inside)

pytest_plugins = "pytester"

BEGIN = """
import os, sys
import pytest
BACK_END = [sys.executable, "-m", "vhostspy.demo.back_end", "--listen", "{back_end}"]
"""


def run(pytester: pytest.Pytester, text: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(test_it=BEGIN + textwrap.dedent(text))
    # our own run has warnings as errors; and in a checkout pytest takes the tests for a part of the plug-in
    quiet = ("-W", "default", "-W", "ignore::pytest.PytestAssertRewriteWarning")
    # one records what the next one plays, whatever shuffles tests in this environment
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly", *quiet, *options)


def test_a_session_that_is_right_passes(pytester: pytest.Pytester) -> None:
    run(
        pytester,
        """
        def test_it(vhostspy):
            vhostspy.start(*BACK_END)
            vhostspy.front_end().negotiate()
            assert [one.rule for one in vhostspy.findings] == ["VU-OWN-03"]
            assert [m.name for m in vhostspy.messages][:2] == ["GET_FEATURES", "GET_FEATURES"]
            assert vhostspy.session.virtio_agreed == 1 << 30 | 1 << 32
        """,
    ).assert_outcomes(passed=1)


TWICE = """
{mark}
def test_it(vhostspy):
    vhostspy.start(*BACK_END)
    front_end = vhostspy.front_end()
    front_end.send("SET_OWNER")
    front_end.send("SET_OWNER")
    front_end.ask("GET_FEATURES")
"""


def test_what_the_rules_find_fails_the_test(pytester: pytest.Pytester) -> None:
    result = run(pytester, TWICE.format(mark=""))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "found by the rules (vhostspy explain tells more of each):",
            "#2 error VU-OWN-02: front-end: SET_OWNER: expected once*",
            "*- vhostspy -*",
            "capture: *session.pcapng",
        ]
    )


@pytest.mark.parametrize(
    ("mark", "options", "ini", "outcome"),
    [
        ("@pytest.mark.vhostspy(rules='warn')", [], "", {"passed": 1, "warnings": 1}),
        ("@pytest.mark.vhostspy(rules='off')", [], "", {"passed": 1}),
        ("@pytest.mark.vhostspy(disable='VU-OWN-02')", [], "", {"passed": 1}),
        ("@pytest.mark.vhostspy(disable=['VU-OWN-*'])", [], "", {"passed": 1}),
        ("@pytest.mark.vhostspy(blame='back-end')", [], "", {"passed": 1}),
        ("@pytest.mark.vhostspy(blame='front-end')", [], "", {"failed": 1}),
        ("", ["--vhostspy-rules=warn"], "", {"passed": 1, "warnings": 1}),
        ("", [], "vhostspy_rules = off", {"passed": 1}),
        ("", [], "vhostspy_disable = VU-OWN-02", {"passed": 1}),
        ("", ["--vhostspy-rules=error"], "vhostspy_rules = off", {"failed": 1}),
    ],
)
def test_who_says_what_becomes_of_findings(
    pytester: pytest.Pytester, mark: str, options: list[str], ini: str, outcome: dict[str, int]
) -> None:
    pytester.makeini(f"[pytest]\n{ini}\n")
    run(pytester, TWICE.format(mark=mark), *options).assert_outcomes(**outcome)


def test_a_baseline_accepts_what_is_known(pytester: pytest.Pytester) -> None:
    accepted = '{"rule": "VU-OWN-02", "who": "front-end", "text": "%s"}'
    text = "SET_OWNER: expected once on a connection, came again after …"
    pytester.makefile(".json", known=f'{{"vhostspy-baseline": 1, "findings": [{accepted % text}]}}')
    pytester.makeini("[pytest]\nvhostspy_baseline = known.json\n")
    run(pytester, TWICE.format(mark="")).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("mark", "sentence"),
    [
        ("rulez='off'", "*the mark vhostspy has no 'rulez'*"),
        ("rules='sometimes'", "*rules is one of error, strict, warn, off, not 'sometimes'*"),
        ("disable='VU-OWN-99'", "*there is no rule 'VU-OWN-99'*"),
        ("'golden.pcapng'", "*takes names, as golden=*"),
        ("golden=5", "*golden is the name of a file, not 5*"),
    ],
)
def test_a_mistake_in_the_mark_is_told(pytester: pytest.Pytester, mark: str, sentence: str) -> None:
    result = run(pytester, TWICE.format(mark=f"@pytest.mark.vhostspy({mark})"))
    result.stdout.fnmatch_lines([sentence])
    result.assert_outcomes(errors=1)


GOLDEN = """
@pytest.mark.vhostspy(golden="golden/session.pcapng")
def test_it(vhostspy):
    vhostspy.start(*BACK_END, *os.environ.get("MORE", "").split())
    vhostspy.front_end().negotiate()
"""


def test_a_golden_capture_is_made_kept_and_renewed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = pytester.path / "golden" / "session.pcapng"
    result = run(pytester, GOLDEN)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["there is no golden capture *session.pcapng; --vhostspy-update makes it*"])
    run(pytester, GOLDEN, "--vhostspy-update").assert_outcomes(passed=1)
    first = golden.read_bytes()
    run(pytester, GOLDEN).assert_outcomes(passed=1)
    # the same again is no reason to write it anew
    run(pytester, GOLDEN, "--vhostspy-update").assert_outcomes(passed=1)
    assert golden.read_bytes() == first
    changed = GOLDEN.replace("negotiate()", "negotiate(['VERSION_1', 'PROTOCOL_FEATURES', 'FLUSH'])").replace(
        "front_end()", "front_end(device='block')"
    )
    result = run(pytester, changed)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "not as in session.pcapng (semantic; --vhostspy-update accepts it):",
            "SET_FEATURES from the front-end: expected #8, came #8",
            "    features.*  expected no, came yes",
        ]
    )
    run(pytester, changed, "--vhostspy-update").assert_outcomes(passed=1)
    assert golden.read_bytes() != first
    run(pytester, changed).assert_outcomes(passed=1)


def test_a_golden_capture_can_be_compared_by_its_shape_alone(pytester: pytest.Pytester) -> None:
    shape = GOLDEN.replace('pcapng"', "pcapng\", match='shape'")
    run(pytester, shape, "--vhostspy-update").assert_outcomes(passed=1)
    run(
        pytester, shape.replace("negotiate()", "negotiate(['VERSION_1', 'PROTOCOL_FEATURES', 'LOG_ALL'])")
    ).assert_outcomes(passed=1)


FAILS = """
def test_it(vhostspy):
    vhostspy.start(*BACK_END)
    front_end = vhostspy.front_end()
    front_end.negotiate()
    front_end.tell("SET_VRING_NUM", index=99, num=64)
"""


def test_a_failed_test_leaves_its_capture_and_says_where(pytester: pytest.Pytester) -> None:
    result = run(pytester, FAILS)
    result.assert_outcomes(failed=1)
    found = re.search(r"^capture: (.*)$", result.stdout.str(), re.MULTILINE)
    assert found and Path(found[1]).read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"
    result.stdout.fnmatch_lines(
        [
            "E * the back-end: it refused SET_VRING_NUM: failed (1)",
            "*vhostspy show *session.pcapng -v",
            "* #11 *← SET_VRING_NUM ack  failed (1)",
            "*back-end: SET_VRING_NUM: there is no ring 99, only 4",
        ]
    )


FIXTURE_FAILS = """
@pytest.fixture
def front_end(vhostspy):
    vhostspy.start(*BACK_END)
    front_end = vhostspy.front_end()
    front_end.negotiate()
    {before}
    yield front_end
    {after}

def test_it(front_end):
    front_end.ask("GET_FEATURES")
"""
REFUSED = 'front_end.tell("SET_VRING_NUM", index=99, num=64)'


@pytest.mark.parametrize(
    ("before", "after", "outcome", "last"),
    [
        (REFUSED, "", {"errors": 1}, "* #11 *← SET_VRING_NUM ack  failed (1)"),
        ("", "assert not 'ended as it should'", {"passed": 1, "errors": 1}, "* #10 *→ GET_FEATURES*"),
    ],
)
def test_so_does_a_fixture_that_fails(
    before: str, after: str, outcome: dict[str, int], last: str, pytester: pytest.Pytester
) -> None:
    result = run(pytester, FIXTURE_FAILS.format(before=before, after=after), "--junitxml=reports/unit.xml")
    result.assert_outcomes(**outcome)
    kept = pytester.path / "reports" / "unit-captures" / "test_it.py--test_it.pcapng"
    result.stdout.fnmatch_lines(["*- vhostspy -*", f"capture: {kept}", last])
    assert kept.exists()
    properties = ElementTree.parse(pytester.path / "reports" / "unit.xml").iter("property")
    assert ("vhostspy_capture", str(kept)) in [(one.get("name"), one.get("value")) for one in properties]


def test_what_failed_twice_is_told_once(pytester: pytest.Pytester) -> None:
    text = FIXTURE_FAILS.format(before="", after="assert not 'ended as it should'")
    result = run(pytester, text.replace('front_end.ask("GET_FEATURES")', REFUSED))
    result.assert_outcomes(failed=1, errors=1)
    assert result.stdout.str().count("- vhostspy -") == 1


def test_a_fixture_that_is_asked_for_by_name_counts_as_well(pytester: pytest.Pytester) -> None:
    text = TWICE.format(mark="").replace("test_it(vhostspy):", "test_it(request):")
    text = text.replace(
        "    vhostspy.start(", '    vhostspy = request.getfixturevalue("vhostspy")\n    vhostspy.start('
    )
    run(pytester, text).assert_outcomes(failed=1)


def test_it_is_copied_to_where_reports_are(pytester: pytest.Pytester) -> None:
    result = run(pytester, FAILS, "--vhostspy-keep=reports", "--junitxml=reports/junit.xml")
    result.assert_outcomes(failed=1)
    kept = pytester.path / "reports" / "test_it.py--test_it.pcapng"
    assert kept.exists()
    result.stdout.fnmatch_lines([f"capture: {kept}"])
    properties = ElementTree.parse(pytester.path / "reports" / "junit.xml").iter("property")
    assert {one.get("name"): one.get("value") for one in properties} == {"vhostspy_capture": str(kept)}


def test_beside_a_junit_report_it_is_found_without_being_asked_for(pytester: pytest.Pytester) -> None:
    run(pytester, FAILS, "--junitxml=reports/unit.xml").assert_outcomes(failed=1)
    assert [path.name for path in (pytester.path / "reports").iterdir() if path.is_dir()] == ["unit-captures"]
    assert (pytester.path / "reports" / "unit-captures" / "test_it.py--test_it.pcapng").exists()


def test_a_relay_that_cannot_start_says_why(pytester: pytest.Pytester) -> None:
    text = FAILS.replace("def test_it", "@pytest.mark.vhostspy(options=['--mask-features', 'NOTHING'])\ndef test_it")
    result = run(pytester, text)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*relay ended with status 2*", "*vhostspy: *NOTHING*"])


def test_a_passed_test_leaves_nothing_there(pytester: pytest.Pytester) -> None:
    run(pytester, GOLDEN, "--vhostspy-update", "--vhostspy-keep=reports").assert_outcomes(passed=1)
    assert not (pytester.path / "reports").exists()


def test_a_program_that_crashes_fails_the_test(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        def test_it(vhostspy):
            crash = "import os, signal, sys; sys.stderr.write('last words'); sys.stderr.flush(); os.abort()"
            program = vhostspy.start(sys.executable, "-c", crash, name="victim")
            assert program.wait() == -6
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["victim was ended by signal 6", "    last words"])


def test_a_program_that_does_not_start_is_told(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        def test_it(vhostspy):
            vhostspy.start(sys.executable, "-c", "import sys; sys.exit('no disk here: {back_end}')", name="victim")
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*victim ended with status 1 before it made *", "E*no disk here: *"])


def test_a_program_that_there_is_not_is_told_in_a_line(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        def test_it(vhostspy):
            vhostspy.start("no-such-program", "{back_end}")
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E * no-such-program cannot be started: No such file or directory"])
    result.stdout.no_fnmatch_line("*subprocess*")


def test_a_recorded_front_end_is_played(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        @pytest.mark.vhostspy(golden="golden.pcapng")
        def test_record(vhostspy):
            vhostspy.start(*BACK_END)
            front_end = vhostspy.front_end()
            front_end.negotiate()
            front_end.share_memory()
            front_end.start_ring()

        @pytest.mark.vhostspy(golden="golden.pcapng")
        def test_replay(vhostspy, request):
            vhostspy.start(*BACK_END)
            outcome = vhostspy.replay(request.path.parent / "golden.pcapng")
            assert outcome.status == 0 and outcome.sent > 10
        """,
        "--vhostspy-update",
    )
    result.assert_outcomes(passed=2)


def test_a_replay_that_goes_another_way_is_told_by_member(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        @pytest.mark.vhostspy(golden="golden.pcapng")
        def test_record(vhostspy):
            vhostspy.start(*BACK_END)
            front_end = vhostspy.front_end()
            front_end.negotiate()
            front_end.ask("GET_QUEUE_NUM")

        def test_replay(vhostspy, request):
            vhostspy.start(*BACK_END, "--queues", "2")
            vhostspy.replay(request.path.parent / "golden.pcapng")
        """,
        "--vhostspy-update",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["E*GET_QUEUE_NUM reply from the back-end: expected #11, came #11*", "E*queues  expected 4, came 2*"]
    )


def test_a_recorded_back_end_is_played(pytester: pytest.Pytester) -> None:
    """Recorded from one front-end, and played to another process of the same."""
    result = run(
        pytester,
        """
        import threading

        @pytest.mark.vhostspy(golden="golden.pcapng", rules="off")
        def test_record(vhostspy):
            vhostspy.start_demo_back_end()
            assert vhostspy.start_demo_front_end("--sectors", "4").wait() == 0

        @pytest.mark.vhostspy(rules="off")
        def test_replay(vhostspy, request):
            vhostspy.start_demo_front_end("--sectors", "4", "--timeout", "1")
            outcome = vhostspy.replay(request.path.parent / "golden.pcapng", "back-end", until_no="set-up", check=False)
            assert outcome.matched > 15 and not outcome.failure
        """,
        "--vhostspy-update",
    )
    result.assert_outcomes(passed=2)


def test_messages_that_are_not_equal_are_told_by_member(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        def test_it(vhostspy):
            vhostspy.start(*BACK_END)
            front_end = vhostspy.front_end()
            assert front_end.ask("GET_QUEUE_NUM") == front_end.ask("GET_FEATURES")
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *two messages that are not equal", "E *GET_QUEUE_NUM reply or GET_FEATURES reply*", "E *message*"]
    )


def test_the_help_names_the_options_and_the_mark(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--help")
    result.stdout.fnmatch_lines(["*--vhostspy-update*", "*--vhostspy-rules*", "*--vhostspy-keep*", "*vhostspy_rules*"])
    assert "@pytest.mark.vhostspy(golden=None" in pytester.runpytest_inprocess("--markers").stdout.str()


def test_it_costs_next_to_nothing_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    """A project that only has vhostspy installed loads one module of it, and nothing that that would load."""
    pytester.makepyfile(
        """
        import sys

        def test_it():
            ours = sorted(name for name in sys.modules if name.startswith("vhostspy"))
            assert ours == ["vhostspy", "vhostspy.pytest_plugin"]
            assert "scapy" not in sys.modules and "textual" not in sys.modules
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize("options", [[], ["--vhostspy-update"]])
def test_a_golden_file_that_is_no_capture_is_told_and_not_written_over(
    pytester: pytest.Pytester, options: list[str]
) -> None:
    golden = pytester.path / "golden" / "session.pcapng"
    golden.parent.mkdir()
    golden.write_text("my letters")
    result = run(pytester, GOLDEN, *options)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"{golden} is no golden capture: not a capture*"])
    assert golden.read_text() == "my letters"


def test_a_golden_capture_that_cannot_be_written(pytester: pytest.Pytester) -> None:
    (pytester.path / "golden").write_text("in the way")
    result = run(pytester, GOLDEN, "--vhostspy-update")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the golden capture * cannot be written: *"])


def test_captures_that_cannot_be_kept_are_told_where_they_are(pytester: pytest.Pytester) -> None:
    (pytester.path / "kept").write_text("in the way")
    result = run(pytester, TWICE.format(mark=""), "--vhostspy-keep=kept")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["it cannot be kept as *kept/*.pcapng: *", "capture: *session.pcapng"])


def test_a_relay_that_does_not_start_has_no_capture(pytester: pytest.Pytester) -> None:
    result = run(pytester, TWICE.format(mark="@pytest.mark.vhostspy(options=['--nope'])"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["relay ended with status 2", "*there is no option --nope*"])
    result.stdout.no_fnmatch_line("capture: *")
