"""``vhostspy explain``: what the rows know of a message, feature bit, structure or device, at the prompt."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from vhostspy.dissectors import explain
from vhostspy.dissectors.explain import Book, Paint, Subject
from vhostspy.errors import WrongUse

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

#: so many subjects of one name are explained; of more there is a list
_ARTICLES = 4
#: lines get no longer on a wide terminal: nobody reads them well
_WIDEST = 120
_COLOURS = {"title": "1", "head": "2", "label": "36"}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "name",
        nargs="*",
        metavar="NAME",
        help="as one would type it: SET_VRING_KICK, set-vring-kick, 12, 'back-end 2', F_MQ, 'virtio bit 33', net, "
        "'memory region', 'SET_VRING_*'; without a name all there is",
    )
    parser.add_argument("--json", action="store_true", help="the rows themselves, JSON lines (docs/explain.md)")


def run(options: Namespace) -> int:
    book = everything()
    text = " ".join(options.name)
    found = book.find(text) if text else list(book.subjects)
    if not found:
        near = book.near(text)
        hint = f" (did you mean {' or '.join(near)}?)" if near else "; vhostspy explain lists all there is"
        raise WrongUse(f"nothing is called {text!r}{hint}")
    if options.json:
        _write(_json_lines(found, whole=not text))
        return 0
    width = min(get_terminal_size().columns, _WIDEST)
    paint = _paint()
    if not text:
        _write(_contents(book, width, paint))
    elif len(found) > _ARTICLES:
        _write(_list(found, width, paint))
    else:
        _write(_articles(found, width, paint))
    return 0


def everything() -> Book:
    """All subjects there are: what the rows give, then the rules."""
    from vhostspy.rules.subjects import with_rules

    return Book(with_rules(explain.every()))


def _write(lines: Iterator[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")


def _json_lines(found: list[Subject], whole: bool) -> Iterator[str]:
    import json

    from vhostspy import __version__

    if whole:
        yield json.dumps({"kind": "table", "format": explain.FORMAT, "vhostspy": __version__})
    for subject in found:
        yield json.dumps(subject.value(), ensure_ascii=False)


def _articles(found: list[Subject], width: int, paint: Paint) -> Iterator[str]:
    for place, subject in enumerate(found):
        if place:
            yield ""
            yield "─" * min(width, 60)
        yield from explain.render(subject.article(), width, paint)


def _list(found: list[Subject], width: int, paint: Paint) -> Iterator[str]:
    """A line each below the headings, by spellings that lead to that one alone."""
    column = max(len(subject.title) for subject in found)
    room = max(width - column - 4, 20)
    for place, (group, subjects) in enumerate(Book(found).groups()):
        if place:
            yield ""
        yield paint(group, "title")
        for subject in subjects:
            about = subject.text if len(subject.text) <= room else subject.text[: room - 1].rstrip() + "…"
            yield f"  {paint(subject.title.ljust(column), 'label')}  {about}".rstrip()


def _contents(book: Book, width: int, paint: Paint) -> Iterator[str]:
    for place, (group, subjects) in enumerate(book.groups()):
        if place:
            yield ""
        yield paint(group, "title")
        size = max(len(subject.number) for subject in subjects)
        cells = [f"{subject.number:>{size}} {subject.name}".lstrip(" " * (not size)) for subject in subjects]
        # several structures may have one name, under which all of them are found
        yield from explain.columns(list(dict.fromkeys(cells)), width)


def _paint() -> Paint:
    from vhostspy.output.stream import wants_colour

    if sys.stdout is None or not wants_colour(sys.stdout):
        return explain.unpainted
    return lambda text, what: f"\x1b[{_COLOURS[what]}m{text}\x1b[0m"
