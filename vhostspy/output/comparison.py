"""Two recordings side by side: for people, as JSON lines, as JUnit XML.

For people: of each pair of sessions the negotiation first, then the messages, a line each, with its number in both;
those that are the same only by their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from vhostspy.compare import Difference, Pair
from vhostspy.compare.message import Value, named, written
from vhostspy.compare.negotiation import Topic, Words
from vhostspy.message import Message, end_name
from vhostspy.session.state import Session

from .units import escape, plural, size

_SIGNS = {"same": " ", "changed": "~", "moved": ">", "missing": "-", "extra": "+"}
_COLOURS = {"same": "", "changed": "33", "moved": "36", "missing": "31", "extra": "32"}
#: in the order of the closing sentence
HOW = {"same": "the same", "changed": "changed", "missing": "only in A", "extra": "only in B", "moved": "moved"}
_WIDTH = 100


class Compared(NamedTuple):
    """A session of A and one of B; None: the other recording has one less."""

    expected: Session | None
    came: Session | None
    topics: list[Topic]
    pairs: list[Pair]

    @property
    def same(self) -> bool:
        return (
            self.expected is not None
            and self.came is not None
            and all(topic.same for topic in self.topics)
            and all(pair.how == "same" for pair in self.pairs)
        )

    @property
    def title(self) -> str:
        if self.came is None:
            return f"session {self.expected.number if self.expected else 0}, only in A"
        if self.expected is None:
            return f"session {self.came.number}, only in B"
        if self.expected.number == self.came.number:
            return f"session {self.came.number}"
        return f"session {self.expected.number} of A, {self.came.number} of B"


# -- for people


def lines(one: Compared, colour: bool = False, verbose: bool = False) -> Iterator[str]:
    """One pair of sessions; ``verbose``: also what is the same, a line each."""

    def paint(text: str, how: str) -> str:
        return f"\x1b[{_COLOURS[how]}m{text}\x1b[0m" if colour and _COLOURS[how] else text

    yield one.title
    if one.topics:
        width = max(len(topic.about) for topic in one.topics)
        for topic in one.topics:
            for i, (text, how) in enumerate(_topic(topic)):
                yield f"  {topic.about if i == 0 else '':<{width}}  {paint(text, how)}"
    yield f"  {'A':>7} {'B':>7}    from"
    run: list[Pair] = []
    for pair in one.pairs:
        if pair.how == "same" and not verbose:
            run.append(pair)
            continue
        yield from _run(run)
        run = []
        yield from (paint(line, pair.how) for line in _pair(pair))
    yield from _run(run)


def sentence(counts: dict[str, int]) -> str:
    """``64 pairs: 28 the same, 29 changed, 7 only in B``."""
    said = ", ".join(f"{counts[how]} {HOW[how]}" for how in HOW if counts.get(how))
    return said or "no messages"


def count(compared: Iterable[Compared]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in compared:
        for pair in one.pairs:
            counts[pair.how] = counts.get(pair.how, 0) + 1
    return counts


def _topic(topic: Topic) -> Iterator[tuple[str, str]]:
    """Lines, each with how it is to look."""
    if not isinstance(topic, Words):
        if topic.same:
            yield _amount(topic.about, topic.expected), "same"
        else:
            yield f"A {_amount(topic.about, topic.expected)}, B {_amount(topic.about, topic.came)}", "changed"
        return
    for text, bits, how in (
        ("both: ", topic.both, "same"),
        ("only in A: ", topic.only_expected, "missing"),
        ("only in B: ", topic.only_came, "extra"),
    ):
        if bits:
            yield from ((line, how) for line in _broken(text, bits))
    if not (topic.both or topic.only_expected or topic.only_came):
        yield "none", "same"


def _amount(about: str, value: int | str | None) -> str:
    if value is None or isinstance(value, bool):
        return written(value)
    return size(value) if about == "memory" and isinstance(value, int) else escape(str(value))


def _broken(start: str, words: list[str]) -> Iterator[str]:
    """Words behind each other, broken at some hundred columns."""
    line = start
    for i, word in enumerate(words):
        word = escape(word) + (", " if i + 1 < len(words) else "")
        if len(line) + len(word.rstrip()) > _WIDTH - 20 and line != start:
            yield line.rstrip()
            line = "    "
        line += word
    yield line.rstrip()


def _run(pairs: list[Pair]) -> Iterator[str]:
    """What is the same, by its numbers."""
    if pairs:
        left = _from_to(pair.expected for pair in pairs)
        right = _from_to(pair.came for pair in pairs)
        yield f"  {left:>7} {right:>7}    {plural(len(pairs), 'message')} the same"


def _from_to(messages: Iterable[Message | None]) -> str:
    numbers = [message.no for message in messages if message is not None]
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}–{high}"


def _pair(pair: Pair) -> Iterator[str]:
    message = pair.expected or pair.came
    if message is None:
        return
    left = pair.expected.no if pair.expected else ""
    right = pair.came.no if pair.came else ""
    channel = "" if message.channel == "main" else f"{message.channel} "
    arrow = "→" if message.sender == 0 else "←"
    who = f"{arrow} {channel}{end_name(message.protocol, message.sender)}"
    info = escape(message.info)
    if pair.expected and pair.came and pair.expected.info != pair.came.info:
        info = ""
    if pair.moved and not pair.differences:
        info = f"{info}  (in another place)".strip()
    line = f"{_SIGNS[pair.how]} {left:>7} {right:>7}    {who:<11}  {named(message):<26}  {info}".rstrip()
    found = [*_differences(pair.differences)]
    if len(found) == 1 and len(line) + len(found[0]) < _WIDTH + 20:
        yield f"{line:<62}{'  ' if len(line) >= 62 else ''}{found[0]}"
        return
    yield line + ("  (in another place)" if pair.moved and pair.differences else "")
    yield from (f"{'':<22}{each}" for each in found)


def _differences(differences: Iterable[Difference]) -> Iterator[str]:
    """A line a member, and one for all bits of a word: what went and what came."""
    lines: list[str | tuple[list[str], list[str]]] = []
    words: dict[str, tuple[list[str], list[str]]] = {}
    names: list[str] = []
    for one in differences:
        word, dot, bit = one.member.rpartition(".")
        if not dot or not isinstance(one.expected, bool) or not isinstance(one.came, bool):
            lines.append(f"{escape(one.member)} {_written(one.expected)} → {_written(one.came)}")
            continue
        if word not in words:
            words[word] = [], []
            lines.append(words[word])
            names.append(word)
        words[word][one.came].append(bit)
    for line in lines:
        if isinstance(line, str):
            yield line
        else:
            said = [f"{sign} {', '.join(bits)}" for sign, bits in zip("-+", line, strict=True) if bits]
            yield from _broken(f"{escape(names.pop(0))} ", "  ".join(said).split(", "))


def _written(value: Value) -> str:
    return escape(written(value))


# -- for programs


def values(one: Compared, verbose: bool = False) -> Iterator[dict[str, Any]]:
    """JSON objects: the session, its topics, its pairs (``verbose``: also those that are the same)."""
    numbers = {"a": one.expected and one.expected.number, "b": one.came and one.came.number}
    yield {"diff": "session", "session": numbers, "same": one.same}
    for topic in one.topics:
        if isinstance(topic, Words):
            yield {
                "diff": "features", "session": numbers, "about": topic.about, "same": topic.same, "both": topic.both,
                "only_a": topic.only_expected, "only_b": topic.only_came,
            }  # fmt: skip
        else:
            yield {
                "diff": "number", "session": numbers, "about": topic.about, "same": topic.same,
                "a": topic.expected, "b": topic.came,
            }  # fmt: skip
    for pair in one.pairs:
        message = pair.expected or pair.came
        if message is None or (pair.how == "same" and not verbose):
            continue
        yield {
            "diff": "message", "session": numbers, "how": pair.how, "moved": pair.moved,
            "a": pair.expected and pair.expected.no, "b": pair.came and pair.came.no,
            "message": message.name, "kind": message.kind, "channel": message.channel,
            "from": end_name(message.protocol, message.sender),
            "differences": [
                {"member": each.member, "a": each.expected, "b": each.came} for each in pair.differences
            ],
        }  # fmt: skip


def junit(compared: Iterable[Compared]) -> Iterator[str]:
    """JUnit XML: two test cases a session, its negotiation and its messages."""
    # here: it would double the start of everything else
    from xml.sax.saxutils import escape as xml
    from xml.sax.saxutils import quoteattr

    cases: list[tuple[str, list[str]]] = []
    for one in compared:
        unlike = [topic for topic in one.topics if not topic.same]
        only = [one.title] if one.expected is None or one.came is None else []
        said = [f"{topic.about}: {text}" for topic in unlike for text, how in _topic(topic) if how != "same"]
        cases.append((f"{one.title}: negotiation", only + said))
        messages = [line for pair in one.pairs if pair.how != "same" for line in _pair(pair)]
        cases.append((f"{one.title}: messages", messages))
    failed = sum(1 for _, text in cases if text)
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<testsuites><testsuite name="vhostspy diff" tests="{len(cases)}" failures="{failed}">'
    for name, text in cases:
        yield f'<testcase classname="vhostspy.diff" name={quoteattr(name)}>'
        if text:
            body = "\n".join(text)
            yield f"<failure message={quoteattr(plural(len(text), 'line') + ' differ')}>{xml(body)}</failure>"
        yield "</testcase>"
    yield "</testsuite></testsuites>"


def summary(compared: list[Compared]) -> dict[str, Any]:
    """The last JSON line."""
    counts = count(compared)
    said = {"same_messages" if how == "same" else how: counts.get(how, 0) for how in HOW}
    return {"diff": "summary", "same": all(one.same for one in compared), **said}
