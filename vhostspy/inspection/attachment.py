"""A view of a running relay's sessions and of their memory.

What was agreed and set up comes from the relay's capture, read as everybody reads it. The memory itself is what the
relay's keeper hands over: fetched when a session names what is not here yet, closed when it is named no more. All this
is in the caller's process; the relay answers two kinds of short questions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import repeat
from time import monotonic_ns, time_ns
from typing import NamedTuple

from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.capture.record import Descriptor
from vhostspy.memory import dirty_log, inflight
from vhostspy.memory.chain import Chain, open_chains
from vhostspy.memory.guest import Mapped, Outside, Space, space
from vhostspy.memory.iotlb import Translations
from vhostspy.memory.requests import describe
from vhostspy.memory.ring import RING_PACKED, Ring, all_rings
from vhostspy.memory.scan import Scan, scan
from vhostspy.message import Event, Message
from vhostspy.pipeline import Pipeline
from vhostspy.relay.descriptors import close_all
from vhostspy.rules.engine import Rules
from vhostspy.session.state import Line, Session

from .control import Asked, NoRelay
from .files import File
from .notifications import Notifications

#: descriptors of these kinds can be looked into
_FILES = ("memfd", "file")

STOPS = ("GET_VRING_BASE", "GET_VRING_BASE_SKIP_DRAIN")
POSTCOPY = "postcopy: guest memory is not touched until it ends"
TOO_LATE = "it ended before its memory was looked at"


class Seen(NamedTuple):
    """A session and its rings at one moment; ``why`` they could not be looked at, or ""."""

    session: Session
    time_ns: int
    monotonic_ns: int
    rings: tuple[Ring, ...]
    why: str = ""
    inflight: tuple[inflight.Queue, ...] = ()
    dirty: tuple[dirty_log.Dirty, ...] = ()
    #: ring -> requests in flight in a few words, where they were looked at
    requests: Mapping[int, list[str]] = {}
    #: ring -> the same by their buffers
    chains: Mapping[int, list[Chain]] = {}


class Attachment:
    """Attached to one relay, until ``close``. Raises NoRelay where it is gone or refuses."""

    def __init__(self, asked: Asked, device: str | None = None, rules: Rules | None = None) -> None:
        self.asked = asked
        self.status, _ = asked("status")
        _, fds = asked("capture")
        self._fd = fds[0]
        self._reader = Reader(self._fd, follow=True)
        self.pipeline = Pipeline(device, rules)
        #: sessions that ended since ``follow`` was called last, as they were left: what is in flight was not answered
        self.endings: list[Seen] = []
        #: rings were stopped since then
        self.stopped = False
        self._memories: dict[int, SessionMemory] = {}
        self.notifications = Notifications()
        #: session -> ring -> counts that are exact, where the relay has them
        self._exact: dict[int, dict[int, dict[str, int]]] = {}
        #: there is nothing more to come: the capture has come to its end, or the relay was killed
        self.ended = False

    def follow(self) -> list[Message | Event]:
        """What has passed since the last call; the sessions are as they are after it."""
        items: list[Message | Event] = []
        gone = self.asked.gone  # before what it wrote last is read
        self.endings, self.stopped = [], False
        try:
            for record in self._reader:
                for item in self.pipeline.feed(record):
                    items.append(item)
                    self._notice(item)
        except CaptureError as error:
            raise NoRelay(f"what the relay has recorded cannot be read: {error}; it may be too old to be all there"
                          ) from None  # fmt: skip
        self.ended = self.ended or gone
        return items

    @property
    def sessions(self) -> list[Session]:
        """Those that go on."""
        return [one for one in self.pipeline.sessions.values() if one.ended is None]

    def look(self) -> list[Seen]:
        """The rings of every session that goes on, as they are now."""
        return [self.look_at(session) for session in self.sessions]

    def glance(self) -> Iterator[tuple[int, int, int]]:
        """(session, ring, used index) of all split rings that were looked at before: cheap enough for every moment."""
        for session in self.sessions:
            known = self._memories.get(session.number)
            if known is not None and session.postcopy != "listening":
                scanned = known.scanned(session)
                yield from zip(repeat(session.number), scanned.rings, scanned.read()[::2], strict=False)

    def look_at(self, session: Session) -> Seen:
        """A session that goes on, its rings and what else there is."""
        wall, mono = time_ns(), monotonic_ns()
        if session.protocol != "vhost-user":
            # "": nobody has spoken yet
            return Seen(session, wall, mono, (), f"{session.protocol} has no rings" if session.protocol else "")
        if session.postcopy == "listening":
            self._memory(session.number).close()
            return Seen(session, wall, mono, (), POSTCOPY)
        try:
            memory = self.memory(session)
        except NoRelay as refusal:
            return Seen(session, wall, mono, (), str(refusal))
        return self._seen(session, memory, wall, mono)

    def _seen(self, session: Session, memory: Space, wall: int, mono: int) -> Seen:
        self.notifications.poll()
        self._count(session)
        rings = tuple(self._notified(session, ring) for ring in all_rings(session, memory))
        inflight = self._inflight(session)
        return Seen(session, wall, mono, rings, inflight=inflight, dirty=self._dirty(session))

    def memory(self, session: Session) -> Space:
        """The session's memory, as far as it can be looked at. Raises NoRelay."""
        known = self._memory(session.number)
        known.keep_up(session, self.asked)
        return known.space(session)

    def open_chains(self, session: Session, ring: Ring, most: int = 8) -> list[Chain]:
        """The chains in flight of a ring, newest first. Looks at descriptors, not at data."""
        return open_chains(session.rings[ring.number], ring, self._memory(session.number).space(session), most)

    def with_requests(self, seen: Seen) -> Seen:
        """What was seen, with the chains in flight and each in a few words. Looks at guest data."""
        session = seen.session
        memory = self._memory(session.number).space(session)
        chains = {ring.number: self.open_chains(session, ring) for ring in seen.rings}
        requests = {
            ring: [describe(session.device, ring, chain, memory) for chain in found] for ring, found in chains.items()
        }
        return seen._replace(chains=chains, requests=requests)

    def with_problems(self, seen: Seen, most: int = 64) -> Seen:
        """What was seen, with what the chains in flight of a ring tell of it; looks at descriptors, not at data."""
        told = []
        for ring in seen.rings:
            chains = [] if ring.problem else self.open_chains(seen.session, ring, most)
            wrong = next((chain for chain in chains if chain.problem), None)
            if wrong:
                ring = ring._replace(chain=f"chain {wrong.head}: {wrong.problem}")
            told.append(ring._replace(receives=all(chain.receives for chain in chains) if chains else None))
        return seen._replace(rings=tuple(told))

    def _memory(self, session: int) -> SessionMemory:
        known = self._memories.get(session)
        if known is None:
            known = self._memories[session] = SessionMemory(self.notifications)
        return known

    def _notified(self, session: Session, ring: Ring) -> Ring:
        exact = self._exact.get(session.number)
        if exact is not None:
            counts = exact.get(ring.number, {})
            return ring._replace(
                exact=True,
                kicks=counts.get("kicks"),
                kick_count=counts.get("kick_count"),
                calls=counts.get("calls"),
                call_count=counts.get("call_count"),
            )
        known = session.rings[ring.number]
        memory = self._memories[session.number]
        found: list[int | None] = []
        for line in (known.kick, known.call):
            fd = None if line is None else memory.events.get(line.no)
            found += [None, None] if fd is None else list(self.notifications.look(fd))
        return ring._replace(kicks=found[0], kick_count=found[1], calls=found[2], call_count=found[3])

    def _count(self, session: Session) -> None:
        """Notifications that the relay passes on itself are all counted there."""
        if self.status.get("exact_kicks"):
            try:
                answer, _ = self.asked("notifications", session=session.number)
            except NoRelay:
                return  # the session has ended: then they are as they were
            rings: dict[int, dict[str, int]] = {}
            for role, ring, passed, pending in answer["passed"]:
                rings.setdefault(ring, {}).update({f"{role}s": passed, f"{role}_count": pending})
            self._exact[session.number] = rings

    def _inflight(self, session: Session) -> tuple[inflight.Queue, ...]:
        region = session.inflight
        file = region and self._memories[session.number].file(region.no, region.fd)
        if not region or not file:
            return ()
        with suppress(Outside):
            return inflight.queues(region, bool((session.virtio_agreed or 0) & RING_PACKED), file.read)
        return ()

    def _dirty(self, session: Session) -> tuple[dirty_log.Dirty, ...]:
        log = session.log if session.logging else None
        file = log and self._memories[session.number].file(log.no, log.fd)
        if not log or not file:
            return ()
        with suppress(Outside):
            return dirty_log.dirty(log, session.regions, file.read)
        return ()

    def forget(self, session: int) -> None:
        """Let go of a session."""
        self._exact.pop(session, None)
        known = self._memories.pop(session, None)
        if known is not None:
            known.close()

    def close(self) -> None:
        for number in list(self._memories):
            self.forget(number)
        self.notifications.close()
        self._reader.close()
        os.close(self._fd)
        self.asked.close()

    def _notice(self, item: Message | Event) -> None:
        if isinstance(item, Message):
            if item.name == "IOTLB_MSG":
                self._memory(item.session).translations.feed(item)
            elif item.name in STOPS and item.is_reply:
                self.stopped = True
        elif item.event in ("eof", "reset", "close") and item.channel in ("main", ""):
            session = self.pipeline.sessions.get(item.session)
            if item.session in self._memories and session is not None and session.postcopy != "listening":
                # what is open here is still there, though the relay has let go of it
                known = self._memories[item.session]
                if known.has(session):
                    seen = self._seen(session, known.space(session), item.time_ns, item.monotonic_ns)
                    self.endings.append(self.with_requests(seen))
                elif self.status.get("memory"):
                    self.endings.append(Seen(session, item.time_ns, item.monotonic_ns, (), TOO_LATE))
            self.forget(item.session)
        elif item.event == "end" and not item.session:
            self.ended = True


#: the message that brought it, device and inode: of several with the same file one will do
Place = tuple[int, int, int]


class SessionMemory:
    """The files of one session's memory, by where they came from."""

    def __init__(self, notifications: Notifications) -> None:
        self.notifications = notifications
        #: message -> eventfd of a ring
        self.events: dict[int, int] = {}
        self.translations = Translations()
        self._files: dict[Place, File] = {}
        #: what was made of them, and of what of the session
        self._space: tuple[tuple[object, ...], Space] | None = None
        self._scan: tuple[tuple[object, ...], Scan] | None = None
        #: what the relay was asked for, and did not have
        self._missing: set[Place | int] = set()

    def keep_up(self, session: Session, asked: Asked) -> None:
        """Have what the session names now, and nothing else. Raises NoRelay."""
        wanted: set[Place | int] = {_place(no, fd) for no, fd in _places(session) if fd and fd.kind in _FILES}
        wanted |= {line.no for line in _lines(session) if line.fd is not None and line.fd.kind == "eventfd"}
        for place in self._files.keys() - wanted:
            self._unmap()
            self._files.pop(place).close()
        for no in self.events.keys() - wanted:
            self.notifications.drop(self.events.pop(no))
        if wanted - self._here - self._missing:
            self._unmap()
            self._fetch(session.number, wanted, asked)
            self._missing = wanted - self._here

    def has(self, session: Session) -> bool:
        """Whether some of its regions are here, or none could be."""
        places = [_place(one.no, one.fd) for one in session.regions if one.fd and one.fd.kind in _FILES]
        return not places or any(place in self._files for place in places)

    @property
    def _here(self) -> set[Place | int]:
        return {*self._files, *self.events}

    def _fetch(self, session: int, wanted: set[Place | int], asked: Asked) -> None:
        start: int | None = 0
        while start is not None:
            answer, fds = asked("memory", session=session, **{"from": start})
            try:
                for no, _, role, _ in answer["kept"]:
                    place = no if role in ("kick", "call") else _place_of(no, fds[0])
                    if place not in wanted or place in self._here:
                        os.close(fds.pop(0))
                    elif isinstance(place, int):
                        self.notifications.add(fds[0])
                        self.events[place] = fds.pop(0)
                    else:
                        self._files[place] = File(fds.pop(0))
            except OSError as error:
                raise NoRelay(f"the memory cannot be looked at: {error.strerror}") from None
            finally:
                close_all(fds)
            start = answer["next"]

    def scanned(self, session: Session) -> Scan:
        """Its rings' indices, set up anew only where something has changed. Maps what it reads."""
        about = (session.rings, session.regions, session.context, self.translations.count)
        if self._scan is None or self._scan[0] != about or not all(file.whole for file in self._files.values()):
            self._unmap()
            self._scan = about, scan(session, self.space(session))
        return self._scan[1]

    def _unmap(self) -> None:
        self._scan = self._space = None
        for file in self._files.values():
            file.unmap()

    def space(self, session: Session) -> Space:
        about = (session.regions, session.context)
        if self._space is None or self._space[0] != about:
            mapped = []
            for region in session.regions:
                file = self.file(region.no, region.fd)
                if file is not None:
                    mapped.append(Mapped(region, file.read, file.words))
            self._space = about, space(session, tuple(mapped), self.translations)
        return self._space[1]

    def file(self, no: int, fd: Descriptor | None) -> File | None:
        """What came with a message, if it can be looked at."""
        return None if fd is None else self._files.get(_place(no, fd))

    def close(self) -> None:
        """Let go of it all; what is translated stays known."""
        self._unmap()
        for file in self._files.values():
            file.close()
        self._files.clear()
        for fd in self.events.values():
            self.notifications.drop(fd)
        self.events.clear()
        self._missing.clear()


def _place(no: int, fd: Descriptor) -> Place:
    return no, fd.device, fd.inode


def _place_of(no: int, fd: int) -> Place:
    """The same of a descriptor that is here."""
    state = os.fstat(fd)
    return no, state.st_dev, state.st_ino


def _places(session: Session) -> list[tuple[int, Descriptor | None]]:
    """Message and descriptor of all that leads to memory."""
    places = [one for one in (session.log, session.inflight) if one is not None]
    return [(one.no, one.fd) for one in (*session.regions, *places)]


def _lines(session: Session) -> list[Line]:
    """The kick and call eventfds of its rings."""
    return [line for ring in session.rings.values() for line in (ring.kick, ring.call) if line is not None]
