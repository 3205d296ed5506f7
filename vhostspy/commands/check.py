"""``vhostspy check FILE…``: hold recorded sessions against the rules, and say which end broke what.

Each capture is read on its own, several at once where there are processors; their findings come out in the order in
which the files were named.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from mmap import mmap
from typing import TYPE_CHECKING, NamedTuple, TextIO

from vhostspy.arguments import disabled, kept_apart, profile, write_file
from vhostspy.baseline import Known, read_baseline
from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.errors import Failure
from vhostspy.output import findings
from vhostspy.output.findings import Report
from vhostspy.output.stream import Output
from vhostspy.pipeline import Pipeline
from vhostspy.rules.catalogue import BY_ID
from vhostspy.rules.engine import Rules

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

#: records between two looks at how far a capture has been read
_STRIDE = 4096
_BAR = 32

MORE = """\
exit status:
  0  no error (there may be warnings and notes)        1  an error
  2  wrong use, or a capture that is damaged

docs/rules.md has the rules, vhostspy explain RULE one of them.
"""


class Asked(NamedTuple):
    """What all captures are held against."""

    disabled: frozenset[str]
    profile: tuple[str | None, str | None]
    device: str | None
    baseline: Known


def add_arguments(parser: ArgumentParser) -> None:
    from vhostspy.arguments import add_rule_arguments, device, written

    parser.epilog = MORE
    parser.add_argument("files", metavar="FILE", nargs="+", help="captures; - is standard input")
    parser.add_argument("--json", action="store_true", help="findings alone, JSON lines")
    parser.add_argument("--device", metavar="TYPE", type=device, help="what the back-end is, where it cannot be told")
    parser.add_argument(
        "--write-baseline", metavar="FILE", type=written, help="accept what is found: write it to a baseline"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="only say what is an error")
    add_rule_arguments(parser)


def run(options: Namespace) -> int:
    gc.set_threshold(100_000)
    kept_apart({"--junit": options.junit, "--write-baseline": options.write_baseline}, options.files)
    asked = Asked(
        disabled(options),
        profile(options),
        options.device,
        read_baseline(options.baseline) if options.baseline else frozenset(),
    )
    output = Output(sys.stdout, needed=False)
    reports: list[Report] = []
    progress = Progress(sys.stderr, options.files)
    try:
        for report in check_all(options.files, asked, progress):
            progress.clear()
            reports.append(report)
            for trouble in (*report.trouble, *report.notes):
                sys.stderr.write(f"vhostspy check: {trouble}\n")
            if options.json:
                _print(
                    output,
                    (json.dumps(findings.values(one, report.file), ensure_ascii=False) for one in report.kept),
                )
            else:
                _print(output, _about(report, options))
            output.flush()
    finally:
        progress.clear()
    if not options.json:
        if not options.quiet:
            table = [*findings.table(reports, {id: rule.text for id, rule in BY_ID.items()})]
            _print(output, [*table, ""] if table else [])
        _print(output, [findings.sentence(reports)])
        output.flush()
    if options.junit:
        write_file("--junit", options.junit, "\n".join([*findings.junit(reports), ""]))
    if options.write_baseline:
        accepted = findings.baseline_text(one for report in reports for one in report.kept)
        write_file("--write-baseline", options.write_baseline, accepted)
    if any(report.trouble for report in reports):
        return 2
    return 1 if any(report.count("error") for report in reports) else 0


def _about(report: Report, options: Namespace) -> Iterator[str]:
    lines = [*findings.lines(report, ("error",) if options.quiet else findings.SEVERITIES)]
    if lines:
        yield report.file
        yield from lines
        yield ""


def _print(output: Output, lines: Iterable[str]) -> None:
    for line in lines:
        output.write(f"{line}\n")


# -- the work


def check_all(files: list[str], asked: Asked, progress: Progress) -> Iterator[Report]:
    """The reports, in the order of the files; as many at once as there are processors, the longest first."""
    processors = min(len(files), len(os.sched_getaffinity(0)))
    if processors < 2 or "-" in files:
        for place, file in enumerate(files):
            yield check(file, asked, progress.of(place, shown=True))
            progress.file_done(place)
        return
    from concurrent.futures import ProcessPoolExecutor, wait
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # fork: rows that the user has added are known there as well, and how far each is, here
    with ProcessPoolExecutor(processors, get_context("fork"), _begin, (asked, progress)) as pool:
        by_size = sorted(range(len(files)), key=lambda place: -_size(files[place]))
        working = {place: pool.submit(_check, files[place], place) for place in by_size}
        try:
            for place in range(len(files)):
                while not working[place].done():
                    wait([working[place]], progress.every_s)
                    progress.show()
                yield working[place].result()
                progress.file_done(place)
        except BrokenProcessPool:
            raise Failure("a process that checked captures was ended") from None
        except BaseException:
            # interrupted, say: what has not begun need not
            pool.shutdown(wait=False, cancel_futures=True)
            raise


#: in a process of the pool: what all captures are held against, and whom to tell how far one is
_work: tuple[Asked, Progress] | None = None


def _begin(asked: Asked, progress: Progress) -> None:
    global _work
    # ^C goes to the whole group: the process that was called says what becomes of it
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.set_threshold(100_000)
    _work = asked, progress


def _check(file: str, place: int) -> Report:
    assert _work is not None
    asked, progress = _work
    return check(file, asked, progress.of(place))


def check(file: str, asked: Asked, progress: Callable[[int], None] | None = None) -> Report:
    """One capture from its first record to its last; what cannot be read is said in the report's ``trouble``.

    ``progress`` is called with file offsets up to which it was read.
    """
    name = "standard input" if file == "-" else file
    report = Report(file)
    pipeline = Pipeline(asked.device, Rules(asked.disabled, asked.profile))
    try:
        reader = Reader(0 if file == "-" else file)
    except CaptureError as error:
        report.trouble.append(f"{name}: {error}")
        return report
    except OSError as error:
        report.trouble.append(f"{name}: {error.strerror or error}")
        return report
    with reader:
        try:
            for count, record in enumerate(reader):
                for item in pipeline.feed(record):
                    report.add(item, asked.baseline)
                if progress is not None and count % _STRIDE == 0:
                    progress(reader.offset)
        except CaptureError as error:
            report.trouble.append(f"{name}: {error}; what comes behind it is not checked")
    for item in pipeline.finish():
        report.add(item, asked.baseline)
    if reader.note:
        report.notes.append(f"{name}: {reader.note}")
    return report


class Progress:
    """A bar on a terminal; nothing elsewhere. Shared with processes that are forked off."""

    def __init__(self, stream: TextIO | None, files: list[str]) -> None:
        self._stream = stream if stream is not None and stream.isatty() else None
        #: how often somebody should ``show``; None: there is no need
        self.every_s = 0.1 if self._stream else None
        self._sizes = [_size(file) for file in files]
        self._shared = mmap(-1, 8 * max(1, len(files)))
        #: how far each file was read
        self._read = memoryview(self._shared).cast("Q")
        self._done = 0
        self._shown = ""

    def of(self, place: int, shown: bool = False) -> Callable[[int], None]:
        """What to call with the offsets up to which this file was read."""

        def within_file(offset: int) -> None:
            self._read[place] = offset
            if shown:
                self.show()

        return within_file

    def file_done(self, place: int) -> None:
        self._done += 1
        self._read[place] = self._sizes[place]
        self.show()

    def show(self) -> None:
        if self._stream is None:
            return
        part = min(sum(self._read) * _BAR // max(1, sum(self._sizes)), _BAR)
        bar = f"\r[{'#' * part}{' ' * (_BAR - part)}] {self._done} of {len(self._sizes)} captures"
        if bar != self._shown:
            self._shown = bar
            self._stream.write(bar)
            self._stream.flush()

    def clear(self) -> None:
        if self._stream and self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = ""


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size
    except OSError:
        return 0
