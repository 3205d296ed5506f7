"""Standard output as commands write to it: in large pieces, in colour where that is wanted, and until nobody reads it.

Who closes it early (``| head``) has seen enough. A command that only shows then ends, with status 0; one whose status
tells what it found (check, diff, replay, --strict), or that writes a file as well, goes on to its end without a word.
"""

from __future__ import annotations

import os
from typing import TextIO

#: characters that are written at once
_BLOCK = 1 << 16


class Output:
    """Standard output, written in large pieces; ``flush`` when somebody may be waiting for a line.

    Raises BrokenPipeError once nobody reads it any more, unless the work is to be done all the same (``needed``
    false). Without a standard output, what is written is forgotten.
    """

    def __init__(self, stream: TextIO | None, live: bool = False, needed: bool = True) -> None:
        self.live = live
        #: without a reader there is nothing left to do
        self.needed = needed
        self._stream = stream
        self._parts: list[str] = []
        self._size = 0
        self.terminal = stream is not None and stream.isatty()
        self.colour = stream is not None and wants_colour(stream)

    def write(self, text: str) -> None:
        self._parts.append(text)
        self._size += len(text)
        if self._size >= _BLOCK:
            self._empty()

    def flush(self) -> None:
        if self._parts:
            self._empty()
            if self._stream is not None:
                try:
                    self._stream.flush()
                except BrokenPipeError:
                    if self.needed:
                        raise
                    self._lost()

    def _empty(self) -> None:
        text = "".join(self._parts)
        self._parts.clear()
        self._size = 0
        if self._stream is not None:
            try:
                self._stream.write(text)
            except BrokenPipeError:
                if self.needed:
                    raise
                self._lost()

    def _lost(self) -> None:
        """Nobody reads any more, and the work is to be done all the same."""
        if self._stream is not None:
            let_go(self._stream)
        self._stream = None


def let_go(stream: TextIO) -> None:
    """Point it at nothing, so that the interpreter's last flush does not fail aloud."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)


def wants_colour(stream: TextIO) -> bool:
    """Colour is for terminals that have some, and for people who did not say otherwise."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") not in ("", "dumb")
