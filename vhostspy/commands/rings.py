"""``vhostspy rings``: how far drivers and devices are in their rings, live or by the samples of a capture.

A running relay is asked over its control socket; the socket named is never connected to. The memory is looked at here,
in this process, read-only.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.errors import Failure, WrongUse
from vhostspy.inspection import Attachment, NoRelay, Seen, find
from vhostspy.inspection.sampling import event_of
from vhostspy.launch.process import more_descriptors
from vhostspy.memory.chain import Chain
from vhostspy.memory.inflight import queue_of
from vhostspy.memory.progress import Pace, Progress
from vhostspy.memory.ring import Ring
from vhostspy.memory.sample import ring_facts, rings_of
from vhostspy.message import Event, Finding, end_name
from vhostspy.output.json import Json
from vhostspy.output.overview import waiting_lines
from vhostspy.output.rings import dirty_lines, inflight_lines, table
from vhostspy.output.units import escape
from vhostspy.pipeline import Pipeline
from vhostspy.rules.engine import Rules
from vhostspy.session.state import Session

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

#: between two looks whose difference tells how fast a ring goes
GLANCE_S = 0.1
#: how often what passes is followed, and notifications are counted, between two looks
STEP_S = 0.01
#: an answer that is waited for so long is missed
LONG_NS = 500_000_000
#: earlier findings on the screen
MOST_FOUND = 8
_CLEAR = "\x1b[H\x1b[2J"


def add_arguments(parser: ArgumentParser) -> None:
    from vhostspy.arguments import device, seconds

    parser.add_argument(
        "what", metavar="PATH|FILE", nargs="?",
        help="a running relay by the path that it listens on, or a capture with samples (--sample-rings); without it "
        "the only relay that runs",
    )  # fmt: skip
    parser.add_argument(
        "--watch", metavar="S", type=seconds, nargs="?", const=1.0, help="look again every S seconds (1), until ^C"
    )
    parser.add_argument("--requests", action="store_true", help="what is in flight, by the first bytes of each request")
    parser.add_argument("--chains", action="store_true", help="what is in flight, by the buffers of each chain")
    parser.add_argument("--json", action="store_true", help="JSON lines, one a session and moment")
    parser.add_argument("--device", metavar="TYPE", type=device, help="the device type, where it cannot be told")


def run(options: Namespace) -> int:
    if options.what is not None and _is_capture(options.what):
        return _recorded(options)
    more_descriptors()
    try:
        attachment = Attachment(find(options.what), options.device, Rules())
    except NoRelay as none:
        raise Failure(str(none)) from None
    try:
        return Live(options, attachment).run()
    except NoRelay as gone:
        raise Failure(str(gone)) from None
    except KeyboardInterrupt:
        return 0  # how --watch ends
    finally:
        attachment.close()


def _is_capture(name: str) -> bool:
    if name.startswith(("@", "fd:")):
        return False
    try:
        mode = os.stat(name).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISFIFO(mode)


# -- live


class Live:
    """Looks at a relay's sessions once, or again and again."""

    def __init__(self, options: Namespace, attachment: Attachment) -> None:
        self.options = options
        self.attachment = attachment
        self.progress = Progress()
        self.json = Json()
        #: what was found before, which a screen that is painted anew must still tell
        self.found: list[str] = []
        #: session -> how much was found in it, and the last of it: who reads on from here must hear of it
        self.last: dict[int, tuple[int, str]] = {}
        self.screen = bool(options.watch) and not options.json and sys.stdout.isatty()

    def run(self) -> int:
        self._follow()
        if not self.attachment.sessions and self.options.watch is None:
            raise Failure("the relay has no session now")
        # what a ring did in a moment tells more than where it is; only the later look is shown
        for seen in self.attachment.look():
            self._paces(seen)
        status = self._wait(GLANCE_S if self.options.watch is None else 0)
        while status is None:
            self._show([self._with_what_was_asked(seen) for seen in self.attachment.look()])
            if self.options.watch is None:
                return 0
            status = self._wait(self.options.watch)
        return status

    def _wait(self, for_s: float) -> int | None:
        """Follow what passes meanwhile. Gives the exit status once there is nothing more to come."""
        end = time.monotonic() + for_s
        while True:
            self._follow()
            if self.attachment.ended:
                sys.stderr.write("the relay has ended\n")
                return 0
            left = end - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(left, STEP_S))
            self.attachment.notifications.poll()
            now = time.monotonic_ns()
            for session, ring, used in self.attachment.glance():
                self.progress.glance(session, ring, used, now)

    def _follow(self) -> None:
        self.attachment.follow()
        for seen in self.attachment.endings:
            self._show([seen if self.options.chains else seen._replace(chains={})], ended=True)
            self.progress.forget(seen.session.number)
            self.last.pop(seen.session.number, None)

    def _with_what_was_asked(self, seen: Seen) -> Seen:
        seen = self.attachment.with_problems(seen)
        if self.options.requests:
            seen = self.attachment.with_requests(seen)
        elif self.options.chains:
            seen = seen._replace(
                chains={ring.number: self.attachment.open_chains(seen.session, ring) for ring in seen.rings}
            )
        return seen if self.options.chains else seen._replace(chains={})

    def _paces(self, seen: Seen) -> dict[int, Pace]:
        return {ring.number: self.progress.feed(seen.session.number, ring, seen.monotonic_ns) for ring in seen.rings}

    def _show(self, all_seen: list[Seen], ended: bool = False) -> None:
        text = []
        for seen in all_seen:
            event = event_of(seen, self.attachment.pipeline)
            if self.options.json:
                text.append(self.json.event(event))
                continue
            rates = [self.progress.dirtied(seen.session.number, one, seen.monotonic_ns) for one in seen.dirty]
            more = [*inflight_lines(seen.inflight), *dirty_lines(seen.dirty, rates)]
            if not ended:
                more += map(str.strip, waiting_lines(seen.session, seen.monotonic_ns, LONG_NS))
            lines = block(seen.session, event, self._paces(seen), seen.requests, seen.chains, more, ended)
            at = time.strftime("%H:%M:%S", time.localtime(event.time_ns / 1e9))
            self.found += [f"{at} session {event.session} {finding_line(finding)}" for finding in event.findings]
            del self.found[:-MOST_FOUND]
            count, last = self.last.get(event.session, (0, ""))
            if event.findings:
                last = f"{at} {finding_line(event.findings[-1])}"
                self.last[event.session] = count + len(event.findings), last
            elif count and not self.screen:
                lines.append(f"  found before{f' {count} times, the last' if count > 1 else ''}: {last}")
            text.append("\n".join((*lines, "", "")))
        if not text and not self.options.json:
            text = ["no session now\n"]
        if self.screen and self.found:
            text.append("found so far\n" + "".join(f"  {line}\n" for line in self.found))
        sys.stdout.write((_CLEAR if self.screen and not ended else "") + "".join(text))
        sys.stdout.flush()


def block(
    session: Session, event: Event, paces: Mapping[int, Pace], requests: Mapping[int, Sequence[str]] = {},
    chains: Mapping[int, Sequence[Chain]] = {}, more: Sequence[str] = (), ended: bool = False,
) -> list[str]:  # fmt: skip
    """A session's lines: who, its rings, what else there is, and what is wrong."""
    front, back = session.peers
    ends = f"  {escape(front.path)} ⇄ {escape(back.path)}" if front.path or back.path else ""
    device = f"  {session.device}" if session.device else ""
    lines = [f"session {session.number}{ends}{device}" + ("  has ended, as it was left:" if ended else "")]
    rings = rings_of(event.facts)
    why = event.facts.get("why")
    if isinstance(why, str) and why:
        lines.append(f"  {escape(why)}")
    elif not rings:
        lines.append("  no ring has been given a place yet")
    else:
        lines += [f"  {line}" for line in table(rings, paces, requests, session.device, chains)]
    lines += [f"  {line}" for line in more]
    return lines + [f"  {finding_line(finding)}" for finding in event.findings]


def finding_line(finding: Finding) -> str:
    who = "" if finding.who is None else f" ({'both' if finding.who == 2 else end_name('vhost-user', finding.who)})"
    return f"{finding.severity} {finding.rule}{who}: {escape(finding.text)}"


# -- recorded


def _recorded(options: Namespace) -> int:
    """A capture's samples: the last of each session, or with --json all."""
    if options.watch is not None:
        raise WrongUse("--watch looks at a running relay; a capture does not change")
    if options.chains:
        raise WrongUse("--chains looks at a running relay; a capture has no buffers' addresses")
    pipeline = Pipeline(options.device, Rules())
    write = Json()
    sessions: dict[int, Sampled] = {}
    damage = note = ""
    with Reader(options.what) as reader:
        try:
            for record in reader:
                for item in pipeline.feed(record):
                    if not isinstance(item, Event) or item.event != "sample":
                        continue
                    if options.json:
                        sys.stdout.write(write.event(item))
                    if item.session in pipeline.sessions:
                        sampled = sessions.setdefault(item.session, Sampled())
                        sampled.add(item, pipeline.sessions[item.session])
        except CaptureError as error:
            damage = str(error)
        note = reader.note
    for _, sampled in sorted(sessions.items()):
        if not options.json:
            sys.stdout.write("\n".join((*sampled.lines(), "", "")))
    if damage:
        behind = "; what comes behind it is not shown" if sessions else ""
        raise WrongUse(f"{options.what}: {damage}{behind}")
    if note:
        sys.stderr.write(f"{options.what}: {note}\n")
    if not sessions:
        raise WrongUse(f"{options.what}: no samples of rings in it; record with --sample-rings SECONDS")
    return 0


class Sampled:
    """What a capture's samples tell of one session: each ring as it was seen last, and what was found in all.

    Of many rings a sample is several records, of which the first has what is not about rings.
    """

    session: Session
    last: Event

    def __init__(self) -> None:
        self._rings: dict[int, Ring] = {}
        self._requests: dict[int, list[str]] = {}
        self._facts: dict[str, Any] = {}
        self._paces: dict[int, Pace] = {}
        self._progress = Progress()
        self._findings: list[Finding] = []

    def add(self, sample: Event, session: Session) -> None:
        self.session, self.last = session, sample
        self._findings += sample.findings
        rings = rings_of(sample.facts)
        for ring in rings:
            self._rings[ring.number] = ring
            self._paces[ring.number] = self._progress.feed(session.number, ring, sample.monotonic_ns)
        told = sample.facts.get("requests")
        for ring in rings:
            texts = told.get(str(ring.number)) if isinstance(told, dict) else None
            listed = texts if isinstance(texts, list) else []
            self._requests[ring.number] = [text for text in listed if isinstance(text, str)]
        if not rings or min(self._rings) == rings[0].number:
            self._facts = {name: sample.facts.get(name) for name in ("why", "inflight")}

    def lines(self) -> list[str]:
        listed = self._facts["inflight"]
        queues = [queue_of(one) for one in listed] if isinstance(listed, list) else []
        more = inflight_lines([queue for queue in queues if queue is not None])
        facts = {"why": self._facts["why"], "rings": [ring_facts(ring) for _, ring in sorted(self._rings.items())]}
        whole = self.last._replace(facts=facts, findings=tuple(self._findings))
        return block(self.session, whole, self._paces, self._requests, more=more)
