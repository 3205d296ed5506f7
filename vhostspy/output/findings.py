"""What the rules have found in one capture or many: counted, listed, compared with what is accepted already."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from vhostspy.baseline import FORMAT, Known, key
from vhostspy.message import Finding, Message, blamed, judged
from vhostspy.pipeline import Item

from .json import finding as finding_values
from .units import escape, plural

SEVERITIES = ("error", "warning", "note")
#: of one capture so many findings are kept; all are counted
MOST_KEPT = 10_000
#: and of one rule and severity so many are listed for people
MOST_ALIKE = 10


class Found(NamedTuple):
    """A finding, and the protocol by which its end is called."""

    finding: Finding
    protocol: str

    @property
    def who(self) -> str:
        return blamed(self.finding, self.protocol)

    @property
    def key(self) -> tuple[str, str, str]:
        """What is the same in another run."""
        return key(self.finding, self.protocol)


class Report:
    """The findings of one capture; what is accepted is not among them."""

    def __init__(self, file: str = "") -> None:
        self.file = file
        self.kept: list[Found] = []
        #: (rule, severity) -> how many
        self.counts: dict[tuple[str, str], int] = {}
        self.accepted = 0
        self.messages = 0
        #: sentences about the capture itself: it is none, or damaged
        self.trouble: list[str] = []
        #: sentences that are no trouble: where a capture stops
        self.notes: list[str] = []

    def add(self, item: Item, baseline: Known = frozenset()) -> None:
        if isinstance(item, Message):
            self.messages += 1
        for finding in item.findings:
            found = Found(finding, item.protocol)
            if found.key in baseline:
                self.accepted += 1
                continue
            counted = finding.rule, finding.severity
            self.counts[counted] = self.counts.get(counted, 0) + 1
            if len(self.kept) < MOST_KEPT:
                self.kept.append(found)

    def count(self, severity: str) -> int:
        return sum(count for (_, each), count in self.counts.items() if each == severity)


def without_accepted(item: Item, baseline: Known) -> Item:
    """The item with the findings that a baseline does not accept."""
    left = tuple(one for one in item.findings if Found(one, item.protocol).key not in baseline)
    if len(left) == len(item.findings):
        return item
    return judged(item, left) if isinstance(item, Message) else item._replace(findings=left)


def baseline_text(found: Iterable[Found]) -> str:
    """A baseline that accepts these."""
    keys = sorted({one.key for one in found})
    lines = ",\n".join(
        "  " + json.dumps({"rule": rule, "who": who, "text": text}, ensure_ascii=False) for rule, who, text in keys
    )
    return f'{{"vhostspy-baseline": {FORMAT}, "findings": [\n{lines}\n]}}\n'


# -- for people


def lines(report: Report, severities: Container[str] = SEVERITIES) -> Iterator[str]:
    """The findings of one capture, a line each; of many of one rule the first ones."""
    said: dict[tuple[str, str], int] = {}
    for found in report.kept:
        one = found.finding
        key = one.rule, one.severity
        if one.severity not in severities:
            continue
        said[key] = said.get(key, 0) + 1
        if said[key] > MOST_ALIKE:
            continue
        where = f"#{one.no}" if one.no else ""
        session = f" session {one.session}" if one.session > 1 else ""
        about = f"{found.who}: {escape(one.text)} ({one.source})"
        yield f"  {where:>7}  {one.severity:<7}  {one.rule:<10}{session}  {about}"
    for (rule, severity), count in report.counts.items():
        more = count - min(MOST_ALIKE, said.get((rule, severity), 0))
        if more and severity in severities:
            yield f"          {severity:<7}  {rule:<10}  and {more} more like these"


def table(reports: Iterable[Report], texts: Mapping[str, str]) -> Iterator[str]:
    """By rule: how often, in how many captures, and what the rule is. ``texts``: the rules by id."""
    counts: dict[str, dict[str, int]] = {}
    files: dict[str, int] = {}
    for report in reports:
        for rule in {rule for rule, _ in report.counts}:
            files[rule] = files.get(rule, 0) + 1
        for (rule, severity), count in report.counts.items():
            row = counts.setdefault(rule, {})
            row[severity] = row.get(severity, 0) + count
    if not counts:
        return
    yield f"{'rule':<12}{'errors':>7}{'warnings':>10}{'notes':>7}{'files':>7}  what is checked"
    order = {severity: place for place, severity in enumerate(SEVERITIES)}
    for rule, row in sorted(counts.items(), key=lambda each: (min(order[one] for one in each[1]), each[0])):
        cells = "".join(f"{row.get(each) or '':>{width}}" for each, width in zip(SEVERITIES, (7, 10, 7), strict=True))
        yield f"{rule:<12}{cells}{files[rule]:>7}  {texts.get(rule, '')}"


def sentence(reports: list[Report]) -> str:
    """``3 captures, 1204 messages: 1 error, 2 warnings; 4 accepted``"""
    messages = sum(report.messages for report in reports)
    counts = [(sum(report.count(severity) for report in reports), severity) for severity in SEVERITIES]
    found = ", ".join(plural(count, severity) for count, severity in counts if count) or "nothing wrong"
    if all(report.trouble and not report.messages for report in reports):
        found = "nothing could be checked"
    accepted = sum(report.accepted for report in reports)
    captures = f"{plural(len(reports), 'capture')}, " if reports[1:] else ""
    return f"{captures}{plural(messages, 'message')}: {found}" + (f"; {accepted} accepted" if accepted else "")


# -- for programs


def values(found: Found, file: str) -> dict[str, Any]:
    """A finding as ``check --json`` prints it."""
    return {**finding_values(found.finding, found.protocol), "file": file, "session": found.finding.session}


def junit(reports: Iterable[Report]) -> Iterator[str]:
    """JUnit XML: a test case a capture, which fails by its errors; warnings and notes are its output."""
    # here: it loads what reads mail and the web
    from xml.sax.saxutils import escape as xml
    from xml.sax.saxutils import quoteattr

    cases = list(reports)
    failed = sum(1 for report in cases if report.count("error") or report.trouble)
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<testsuites><testsuite name="vhostspy check" tests="{len(cases)}" failures="{failed}">'
    for report in cases:
        yield f'<testcase classname="vhostspy.check" name={quoteattr(_printable(report.file))}>'
        errors = [one for one in report.kept if one.finding.severity == "error"]
        others = [one for one in report.kept if one.finding.severity != "error"]
        if report.trouble or report.count("error"):
            message = "; ".join([*report.trouble, plural(report.count("error"), "error")])
            body = "\n".join(map(_plain_line, errors))
            yield f"<failure message={quoteattr(_printable(message))}>{xml(body)}</failure>"
        if others:
            yield "<system-out>" + xml("\n".join(map(_plain_line, others))) + "</system-out>"
        yield "</testcase>"
    yield "</testsuite></testsuites>"


def _plain_line(found: Found) -> str:
    one = found.finding
    return _printable(
        f"{one.severity} {one.rule} #{one.no} (session {one.session}) {found.who}: {one.text} ({one.source})"
    )


def _printable(text: str) -> str:
    """XML has no form for control characters, nor for what a peer could make of them."""
    return escape(text)
