"""The pytest plug-in: what is said in a test is kept, held against the rules, and compared with a golden capture.

pytest loads this in every run of every project that has vhostspy installed, so nothing but hooks is here: what does the
work (``vhostspy.testing``) is imported when a test asks for the fixture. docs/pytest.md tells how to use it.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vhostspy.testing import Spy
    from vhostspy.testing.verdict import Recorded

FIXTURE = "vhostspy"
#: a test's Spy from when it is made: funcargs has it only once all of the test's fixtures stand
_SPY = pytest.StashKey["Spy"]()
#: a test whose report has its session
_TOLD = pytest.StashKey[bool]()
#: what becomes of findings: errors fail a test and warnings warn; warnings fail as well; all only warn; nobody looks
RULES = ("error", "strict", "warn", "off")
MATCH = ("exact", "semantic", "shape")
#: vhost-user's names of the ends, and vfio-user's
ENDS = ("both", "front-end", "back-end", "client", "server")
MARKER = (
    "vhostspy(golden=None, match='semantic', rules=None, blame='both', disable=(), device=None, options=()): what a "
    "test that uses the fixture vhostspy is held against: golden is a capture beside the test, match exact, semantic "
    "or shape, rules error, strict, warn or off, blame the end whose findings count, disable rules left out, device "
    "the back-end's type, options more for the relay"
)


class VhostspyWarning(UserWarning):
    """Something that a rule has found, which does not fail the test."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("vhostspy")
    group.addoption("--vhostspy-update", action="store_true", help="write golden captures anew from what is said now")
    group.addoption(
        "--vhostspy-rules", choices=RULES, default=None,
        help="findings of the rules: error (errors fail, warnings warn), strict (both fail), warn (both warn), off",
    )  # fmt: skip
    group.addoption(
        "--vhostspy-keep",
        metavar="FOLDER",
        default=None,
        help="copy the captures of failed tests there (else: beside the --junitxml, if there is one)",
    )
    parser.addini("vhostspy_rules", "findings of the rules: error, strict, warn or off", default="error")
    parser.addini("vhostspy_disable", "rules that are not asked, by id", type="args", default=[])
    parser.addini(
        "vhostspy_baseline", "findings that are accepted: a file of vhostspy check --write-baseline", default=""
    )
    parser.addini("vhostspy_keep", "where captures of failed tests are copied to", default="")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


class Wanted:
    """What the marks nearest to a test, the options and the ini file say."""

    def __init__(self, item: pytest.Item) -> None:
        known: dict[str, Any] = {"golden": None, "match": "semantic", "rules": None, "blame": "both", "device": None}
        disable: list[str] = [*item.config.getini("vhostspy_disable")]
        options: list[str] = []
        for mark in reversed([*item.iter_markers(FIXTURE)]):
            given = dict(mark.kwargs)
            if mark.args:
                raise pytest.UsageError(f"{item.nodeid}: the mark vhostspy takes names, as golden='session.pcapng'")
            disable += _words(given.pop("disable", ()))
            options += _words(given.pop("options", ()))
            wrong = given.keys() - known.keys()
            if wrong:
                names = ", ".join([*known, "disable", "options"])
                raise pytest.UsageError(f"{item.nodeid}: the mark vhostspy has no {wrong.pop()!r}; it has {names}")
            known.update(given)
        if known["golden"] is not None and not isinstance(known["golden"], str | os.PathLike):
            raise pytest.UsageError(f"{item.nodeid}: golden is the name of a file, not {known['golden']!r}")
        self.match: str = known["match"]
        self.blame: str = known["blame"]
        self.device: str | None = known["device"]
        self.disable = disable
        self.options = options
        self.golden: Path | None = item.path.parent / known["golden"] if known["golden"] else None
        self.rules: str = (
            known["rules"] or item.config.getoption("vhostspy_rules") or item.config.getini("vhostspy_rules")
        )
        for name, value, right in (
            ("rules", self.rules, RULES),
            ("match", self.match, MATCH),
            ("blame", self.blame, ENDS),
        ):
            if value not in right:
                raise pytest.UsageError(f"{item.nodeid}: {name} is one of {', '.join(right)}, not {value!r}")
        self.update = bool(item.config.getoption("vhostspy_update"))


def _words(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [*value]


@pytest.fixture
def vhostspy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spy]:
    """The relay around this test's own programs; docs/pytest.md, or ``help(vhostspy.testing.Spy)``."""
    from vhostspy.testing import Spy

    wanted = Wanted(request.node)
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:40]
    spy = Spy(
        tmp_path_factory.mktemp(f"vhostspy-{name}"),
        device=wanted.device,
        options=wanted.options,
        disabled=_rules(wanted.disable),
        baseline=_baseline(request.config),
    )
    request.node.stash[_SPY] = spy
    yield spy
    spy.close()


def _rules(names: list[str]) -> frozenset[str]:
    from argparse import ArgumentTypeError

    from vhostspy.arguments import rules

    try:
        return frozenset(rule for name in names for rule in rules(name))
    except ArgumentTypeError as wrong:
        raise pytest.UsageError(f"vhostspy: {wrong}") from None


def _baseline(config: pytest.Config) -> frozenset[tuple[str, str, str]]:
    file = config.getini("vhostspy_baseline")
    if not file:
        return frozenset()
    from vhostspy.baseline import read_baseline
    from vhostspy.errors import WrongUse

    try:
        return frozenset(read_baseline(str(config.rootpath / file)))
    except WrongUse as wrong:
        raise pytest.UsageError(f"vhostspy_baseline: {wrong}") from None


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """What the capture shows belongs to the test, and fails it where the test itself has nothing against it."""
    result = yield
    spy = pyfuncitem.stash.get(_SPY, None)
    if spy is not None:
        _judge(pyfuncitem, spy)
    return result


def _judge(item: pytest.Function, spy: Spy) -> None:
    wanted = Wanted(item)
    recorded = spy.finish()
    wrong = [f"{program.name} {program.how_it_ended}{program.last_words()}" for program in spy.parts if program.crashed]
    if recorded.trouble:
        wrong.append(f"{spy.capture}: {recorded.trouble}")
    wrong += _found(item, wanted, spy, recorded)
    if wanted.golden is not None:
        wrong += _golden(wanted, wanted.golden, spy, recorded)
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def _found(item: pytest.Function, wanted: Wanted, spy: Spy, recorded: Recorded) -> list[str]:
    """What the rules have found and what fails the test; of the rest there are warnings."""
    if wanted.rules == "off":
        return []
    from vhostspy.testing.verdict import finding_line

    fails = {"error": ("error",), "strict": ("error", "warning"), "warn": ()}[wanted.rules]
    wrong = []
    other = {"front-end": 1, "client": 1, "back-end": 0, "server": 0}.get(wanted.blame)
    for one, finding in recorded.findings:
        if finding.who is not None and finding.who == other:
            continue
        if spy.spoke and "-CLS-" in finding.rule and (finding.severity != "error" or finding.who in spy.spoke):
            continue  # the test itself ends the conversation, where it has seen enough
        line = finding_line(one, finding)
        if finding.severity in fails:
            wrong.append(line)
        elif finding.severity != "note":
            try:
                item.warn(VhostspyWarning(line))
            except VhostspyWarning:  # the project has warnings as errors
                wrong.append(line)
    return ["found by the rules (vhostspy explain tells more of each):", *wrong] if wrong else []


def _golden(wanted: Wanted, golden: Path, spy: Spy, recorded: Recorded) -> list[str]:
    """How the session differs from the golden capture; with --vhostspy-update it becomes that."""
    from shutil import copyfile

    from vhostspy.compare import Strictness
    from vhostspy.testing.verdict import against_golden, read

    if not recorded.messages:
        return [f"{golden.name}: nothing was said that could be compared with it"]
    expected = read(golden, wanted.device) if golden.exists() else None
    if expected is not None and not expected.messages and golden.stat().st_size:
        # whatever it is, it is not for us to write over
        return [f"{golden} is no golden capture: {expected.trouble or 'it has no messages'}"]
    if wanted.update:
        if expected is None or expected.trouble or against_golden(expected, recorded, Strictness(wanted.match)):
            try:
                golden.parent.mkdir(parents=True, exist_ok=True)
                copyfile(spy.capture, golden)
            except OSError as error:
                return [f"the golden capture {golden} cannot be written: {error.strerror}"]
        return []
    if expected is None:
        return [f"there is no golden capture {golden}; --vhostspy-update makes it of what is said now"]
    lines = against_golden(expected, recorded, Strictness(wanted.match))
    if lines:
        lines += [expected.trouble] if expected.trouble else []
        lines.insert(0, f"not as in {golden.name} ({wanted.match}; --vhostspy-update accepts it):")
    return lines


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed, or one of its fixtures, says where its capture is, and how the session went."""
    report = yield
    spy = item.stash.get(_SPY, None)
    if spy is not None and report.failed and not item.stash.get(_TOLD, False):
        item.stash[_TOLD] = True
        kept, trouble = _keep(item, spy)
        text = trouble + spy.report()
        if kept is not None:
            text = text.replace(str(spy.capture), str(kept))
            item.user_properties.append(("vhostspy_capture", str(kept)))
            report.user_properties = [*item.user_properties]
        if text:
            report.sections.append(("vhostspy", text))
    return report


def _keep(item: pytest.Item, spy: Spy) -> tuple[Path | None, str]:
    """Where the capture of a failed test is, copied to where it is wanted, and why not; None: there is none."""
    spy.finish()
    if not spy.capture.exists():
        return None, ""
    folder = item.config.getoption("vhostspy_keep") or item.config.getini("vhostspy_keep")
    report = item.config.getoption("xmlpath", None)
    if not folder and report:
        # beside the report, under its name
        folder = f"{report.removesuffix('.xml')}-captures"
    if not folder:
        return spy.capture, ""
    from shutil import copyfile

    name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in item.nodeid).strip("-")
    target: Path = item.config.rootpath / folder / f"{name[-200:]}.pcapng"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        copyfile(spy.capture, target)
    except OSError as error:
        return spy.capture, f"it cannot be kept as {target}: {error.strerror}\n"
    return target, ""


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Two messages that should be the same: by which members they are not."""
    # by its name, for the module may never have been imported
    if (
        op != "=="
        or type(left).__name__ not in ("Message", "Heard")
        or type(right).__name__ not in ("Message", "Heard")
    ):
        return None
    left, right = getattr(left, "message", left), getattr(right, "message", right)
    from vhostspy.compare import Strictness, differences, told
    from vhostspy.message import Message

    if not isinstance(left, Message) or not isinstance(right, Message):
        return None
    first, *rest = told(left, right, differences(left, right, Strictness.EXACT))
    return ["two messages that are not equal", first, *rest]
