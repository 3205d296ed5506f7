"""Articles and lists as lines of a given width."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from textwrap import wrap

from .article import Article, Section

#: of a line, below which columns are not squeezed any more
LEAST = 40
_GAP = "  "

#: text and what it is ("title", "head", "label") -> text with colour, or as it is
Paint = Callable[[str, str], str]


def unpainted(text: str, what: str) -> str:
    return text


def render(article: Article, width: int, paint: Paint = unpainted) -> Iterator[str]:
    """The lines of an article, without their ends; none is longer than ``width`` unless a word is."""
    width = max(width, LEAST)
    heading = f"{paint(article.title, 'title')}{_GAP}"
    room = width - len(article.title) - len(_GAP)
    if len(article.subtitle) <= room:
        yield heading + article.subtitle
    else:
        yield heading.rstrip()
        yield from wrap(article.subtitle, width)
    yield from wrap(article.text, width)
    if article.facts:
        yield ""
        column = max(len(label) for label, _ in article.facts)
        for label, text in article.facts:
            lines = _wrapped(text, width - column - 2 * len(_GAP))
            yield f"{_GAP}{paint(label.ljust(column), 'label')}{_GAP}{lines[0]}".rstrip()
            yield from (" " * (column + 2 * len(_GAP)) + line for line in lines[1:])
    for section in article.sections:
        yield ""
        yield from _section(section, width, paint)


def _section(section: Section, width: int, paint: Paint) -> Iterator[str]:
    yield from (paint(line, "title") for line in wrap(section.title, width))
    yield from wrap(section.text, width)
    if section.rows:
        table = [section.head, *section.rows] if any(section.head) else list(section.rows)
        for place, line in enumerate(_table(table, width, section.right)):
            yield paint(line, "head") if place == 0 and any(section.head) else line


def _table(rows: Sequence[tuple[str, ...]], width: int, right: frozenset[int]) -> Iterator[str]:
    """The last column is wrapped; where little room is left for it, it stands below the others."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    used = sum(widths) + len(_GAP) * (len(widths) + 1)
    below = width - used < 24 and any(len(row[-1]) > width - used for row in rows)
    indent = 2 * len(_GAP) if below else used
    for row in rows:
        cells = [
            cell.rjust(size) if column in right else cell.ljust(size)
            for column, (cell, size) in enumerate(zip(row, widths, strict=False))
        ]
        start = _GAP + _GAP.join(cells)
        lines = _wrapped(row[-1], width - indent)
        if below:
            yield start.rstrip()
        else:
            yield f"{start}{_GAP}{lines.pop(0)}".rstrip()
        yield from (" " * indent + line for line in lines if line)


def columns(cells: Sequence[str], width: int) -> Iterator[str]:
    """As many columns as fit, filled downwards."""
    if not cells:
        return
    size = max(map(len, cells)) + len(_GAP)
    across = max((max(width, LEAST) - len(_GAP)) // size, 1)
    down = -(-len(cells) // across)
    for line in range(down):
        yield (_GAP + "".join(cell.ljust(size) for cell in cells[line::down])).rstrip()


def _wrapped(text: str, width: int) -> list[str]:
    lines = wrap(text, max(width, 16), break_long_words=False, break_on_hyphens=False)
    return [line.replace("\xa0", " ") for line in lines] or [""]
