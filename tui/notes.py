"""Marks and comments, kept beside the capture: ``session.pcapng`` has them in ``session.pcapng.marks``.

JSON: ``{"vhostspy-marks": 1, "marks": {"31": "the answer is late", "40": ""}}``, by the messages' numbers. Events have
none, and stand by the row that they are (``"row 7"``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from .feed import Feed

FORMAT = 1
_MOST = 1 << 24


def beside(path: str) -> str:
    return f"{path}.marks"


def load(path: str, feed: Feed) -> tuple[dict[int, str], str]:
    """Row -> comment, of the rows that the feed knows; and what is wrong with the file, or ""."""
    try:
        with open(beside(path), "rb") as file:
            data = json.loads(file.read(_MOST))
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return {}, f"{beside(path)}: {error.strerror}"
    except (ValueError, RecursionError):
        return {}, f"{beside(path)} holds no marks of ours; it is left as it is"
    marks = data.get("marks") if isinstance(data, dict) and data.get("vhostspy-marks") == FORMAT else None
    if not isinstance(marks, dict):
        return {}, f"{beside(path)} holds no marks of ours; it is left as it is"
    found: dict[int, str] = {}
    for name, text in marks.items():
        row = _row(name, feed)
        if row is not None and isinstance(text, str):
            found[row] = text
    return found, ""


def _row(name: str, feed: Feed) -> int | None:
    if name.startswith("row ") and name[4:].isdecimal():
        row = int(name[4:])
        return row if row < feed.rows else None
    return feed.row_of(int(name)) if name.isdecimal() and len(name) < 20 else None


def save(path: str, marks: Mapping[int, str], feed: Feed) -> None:
    """Write them, all or none. Without marks there is no file. Raises OSError."""
    target = beside(path)
    if not marks:
        try:
            os.unlink(target)
        except FileNotFoundError:
            pass
        return
    named = {}
    for row, text in sorted(marks.items()):
        no = feed.glance(row).no
        named[str(no) if no else f"row {row}"] = text
    text = json.dumps({"vhostspy-marks": FORMAT, "marks": named}, indent=1, ensure_ascii=False)
    fresh = f"{target}.new"
    with open(fresh, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(f"{text}\n")
    os.replace(fresh, target)
