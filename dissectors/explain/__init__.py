"""Everything that the rows know, to be looked up by any name that a person would type.

A ``Subject`` is one thing with a name: a message, a feature bit, a structure. A ``Book`` holds them and finds them. It
begins with what the rows give; parts of vhostspy that lie above the rows add theirs (``Book(extra)``).
"""

from __future__ import annotations

from .article import Article, Section
from .book import Book, Subject
from .page import Paint, columns, render, unpainted
from .subjects import every
from .table import FORMAT

__all__ = [
    "FORMAT", "Article", "Book", "Paint", "Section", "Subject", "columns", "every", "render", "unpainted",
]  # fmt: skip
