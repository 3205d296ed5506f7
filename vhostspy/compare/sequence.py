"""Two sequences of messages side by side: the same, changed, moved, only in one of them.

The requests of each end on each channel are aligned by themselves, for only their order is an end's own; who of two
ends was faster is no difference. First by all that counts of them, then, between those that are the same, by what they
are about. An answer goes with its request: it is held against the answer of the request that its own is paired with.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Literal, NamedTuple

from vhostspy.message import Message

from .facts import Strictness, facts
from .message import Difference, different

#: of long sequences so many are aligned at once; two that are further apart are not found to be the same
WINDOW = 512
#: members that say what a message is about: which ring, region, screen
SUBJECTS = ("index", "region", "offset", "count", "shmid", "scanout_id", "uuid", "direction", "feature")


class Pair(NamedTuple):
    """A message in both sequences, or in one of them."""

    expected: Message | None
    came: Message | None
    differences: tuple[Difference, ...] = ()
    #: it came earlier or later than expected
    moved: bool = False

    @property
    def how(self) -> Literal["same", "changed", "moved", "missing", "extra"]:
        """In one word; what is both changed and moved is changed."""
        if self.expected is None:
            return "extra"
        if self.came is None:
            return "missing"
        if self.differences:
            return "changed"
        return "moved" if self.moved else "same"


def align(
    expected: Iterable[Message], came: Iterable[Message], strictness: Strictness = Strictness.SEMANTIC
) -> list[Pair]:
    """Both sequences (of one session each, in the order of their numbers), in the order of the expected."""
    one, other = _Side(expected, strictness), _Side(came, strictness)
    pairs: list[tuple[int | None, int | None, bool]] = []
    for stream in dict.fromkeys([*one.streams, *other.streams]):
        pairs += _stream(one, one.streams.get(stream, []), other, other.streams.get(stream, []))
    for left, right, _ in list(pairs):
        answers = one.answers(left), other.answers(right)
        pairs += [(a, b, False) for a, b in zip_longest(*answers)]
    return [_pair(one, other, *pair) for pair in _in_order(pairs)]


class _Side:
    """One of the sequences: positions of its messages, by what is to be known of them."""

    def __init__(self, messages: Iterable[Message], strictness: Strictness) -> None:
        self.messages = list(messages)
        self.facts = [facts(message, strictness) for message in self.messages]
        #: (channel, sender, whether answers that answer nothing we have) -> positions
        self.streams: dict[tuple[str, int, bool], list[int]] = {}
        self._answers: dict[int, list[int]] = {}
        numbers = {message.no: at for at, message in enumerate(self.messages)}
        for at, message in enumerate(self.messages):
            if message.answers in numbers:
                self._answers.setdefault(numbers[message.answers or 0], []).append(at)
            else:
                self.streams.setdefault((message.channel, message.sender, message.is_reply), []).append(at)

    def answers(self, at: int | None) -> list[int]:
        return [] if at is None else self._answers.get(at, [])

    def meaning(self, at: int) -> Hashable:
        return tuple(self.facts[at].items())

    def subject(self, at: int) -> Hashable:
        found = self.facts[at]
        return found["message"], found["kind"], *((name, found[name]) for name in SUBJECTS if name in found)

    def name(self, at: int) -> Hashable:
        return self.facts[at]["message"], self.facts[at]["kind"]


def _stream(
    one: _Side, left: Sequence[int], other: _Side, right: Sequence[int]
) -> Iterator[tuple[int | None, int | None, bool]]:
    """The positions of one stream, paired: (expected, came, moved)."""
    alone: list[tuple[list[int], list[int]]] = []
    for a, b in _matched([one.meaning(at) for at in left], [other.meaning(at) for at in right]):
        if len(a) == 1 == len(b) and one.facts[left[a[0]]] == other.facts[right[b[0]]]:
            yield left[a[0]], right[b[0]], False
        else:
            alone.append(([left[i] for i in a], [right[i] for i in b]))
    yield from _moved(one, other, alone)
    for gap in alone:
        yield from _gap(one, other, *gap)


def _moved(
    one: _Side, other: _Side, gaps: list[tuple[list[int], list[int]]]
) -> Iterator[tuple[int | None, int | None, bool]]:
    """What is missing here and the same over there, not too far away; taken out of the gaps."""
    waiting: dict[Hashable, list[tuple[int, list[int]]]] = {}
    for _, right in gaps:
        for at in right:
            waiting.setdefault(other.meaning(at), []).append((at, right))
    for left, _ in gaps:
        for at in list(left):
            candidates = waiting.get(one.meaning(at))
            if candidates and abs(candidates[0][0] - at) <= WINDOW:
                there, right = candidates.pop(0)
                left.remove(at)
                right.remove(there)
                yield at, there, True


def _gap(one: _Side, other: _Side, left: list[int], right: list[int]) -> Iterator[tuple[int | None, int | None, bool]]:
    """Between two that are the same: what is about the same thing is paired, then what has the same name."""
    for how in ("subject", "name"):
        rest_left: list[int] = []
        rest_right: list[int] = []
        keys = [getattr(one, how)(at) for at in left], [getattr(other, how)(at) for at in right]
        for a, b in _matched(*keys):
            if len(a) == 1 == len(b) and keys[0][a[0]] == keys[1][b[0]]:
                yield left[a[0]], right[b[0]], False
            else:
                rest_left += [left[i] for i in a]
                rest_right += [right[i] for i in b]
        left, right = rest_left, rest_right
    yield from ((at, None, False) for at in left)
    yield from ((None, at, False) for at in right)


def _matched(left: Sequence[Hashable], right: Sequence[Hashable]) -> Iterator[tuple[list[int], list[int]]]:
    """Pairs of one position each where the keys are equal, and of any number of them between those."""
    a = b = 0
    while True:
        while a < len(left) and b < len(right) and left[a] == right[b]:
            yield [a], [b]
            a += 1
            b += 1
        if a == len(left) and b == len(right):
            return
        whole = len(left) - a <= WINDOW and len(right) - b <= WINDOW
        matcher = SequenceMatcher(None, left[a : a + WINDOW], right[b : b + WINDOW], autojunk=False)
        blocks = matcher.get_matching_blocks()
        if not whole:
            # what is at a window's end may find its like in the next one
            blocks = [block for block in blocks if block.a < WINDOW * 3 // 4] or blocks
        at_a, at_b = a, b
        for block in blocks:
            if (a + block.a > at_a or b + block.b > at_b) and (whole or block.size):
                yield list(range(at_a, a + block.a)), list(range(at_b, b + block.b))
                at_a, at_b = a + block.a, b + block.b
            for _ in range(block.size):
                yield [at_a], [at_b]
                at_a += 1
                at_b += 1
        if whole:
            return
        if (at_a, at_b) == (a, b):
            # nothing in common: these are given up
            at_a, at_b = min(a + WINDOW, len(left)), min(b + WINDOW, len(right))
            yield list(range(a, at_a)), list(range(b, at_b))
        a, b = at_a, at_b


def _in_order(
    pairs: Iterable[tuple[int | None, int | None, bool]],
) -> list[tuple[int | None, int | None, bool]]:
    """In the order of the expected; what came besides stands behind what it came after."""
    pairs = list(pairs)
    partner = {right: left for left, right, moved in pairs if right is not None and left is not None and not moved}
    anchors: dict[int, int] = {}
    anchor = -1
    for right in sorted(right for _, right, _ in pairs if right is not None):
        anchor = max(anchor, partner.get(right, -1))
        anchors[right] = anchor
    return sorted(
        pairs,
        key=lambda pair: (pair[0], -1) if pair[0] is not None else (anchors[pair[1] or 0], pair[1] or 0),
    )


def _pair(one: _Side, other: _Side, left: int | None, right: int | None, moved: bool) -> Pair:
    if left is None or right is None:
        return Pair(
            None if left is None else one.messages[left], None if right is None else other.messages[right], (), False
        )
    found = different(one.facts[left], other.facts[right]) if one.facts[left] != other.facts[right] else ()
    return Pair(one.messages[left], other.messages[right], found, moved)
