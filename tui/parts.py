"""The parts of the screen, and how they follow the store: the foundation of the application."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, monotonic_ns
from typing import ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.markup import escape as unmarked
from textual.screen import Screen as TextualScreen
from textual.widget import Widget

from vhostspy.filter import Filter
from vhostspy.message import Message
from vhostspy.output.units import duration, escape, plural

from .bars import Keys, Prompt, Title
from .bytes import bytes_lines
from .feed import Counts, Feed
from .keys import KEYS
from .line import Line, Span
from .list import Head, MessageList
from .message import CLOSED, message_lines
from .pane import COMPONENTS, Octets, Pane
from .state import CHANGED, WAITING, state_lines
from .store import Store

#: seconds between two looks at the feed, and how long each may take
TICK_S = 0.1
BUDGET_S = 0.012
#: while somebody presses keys, the feed gets less, for so long after each
AWAKE_S, AWAKE_BUDGET_S = 0.25, 0.002
#: a request of a live session that has no answer for so long stands
_STANDS_NS = 1_000_000_000
#: how long keys wait for what a line does that was typed before them
_LINE_S = 0.5
#: widths of the screen below which octets stand in eights, and below which one pane is shown at a time
MEDIUM, NARROW = 200, 120
PANES = ("message", "bytes", "state")


#: what keys call
_ACTIONS = frozenset(key.action.partition("(")[0] for key in KEYS if key.action)


class Parts(App[int]):
    """List, panes and bars over one feed; which of them is in focus; how much room each has."""

    #: the clock by which a live silence is told
    now_ns: Callable[[], int] = staticmethod(monotonic_ns)

    CSS_PATH = "screen.tcss"
    COMPONENT_CLASSES: ClassVar[set[str]] = {*COMPONENTS}
    TITLE = "vhostspy"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        # before any widget's own: a key that comes right behind another must meet what that one has done
        *(
            Binding(key.keys, key.action, key.text, show=False, priority=True)
            for key in KEYS
            if key.keys and key.action
        ),
        Binding("ctrl+c", "leave", "quit", show=False, priority=True),
    ]

    def __init__(self, feed: Feed, filter: Filter | None = None, *, name: str = "") -> None:
        super().__init__()
        self.feed = feed
        self.store = Store(feed, filter)
        self.name_shown = name or feed.name
        self.closed = CLOSED
        #: the session of the session pane; None: the message's
        self.session_shown: int | None = None
        self._state_title = "session"
        self._share = 60
        self._again = False
        #: all was known at the last tick
        self._still = False
        self._awake_until = 0.0
        #: the number typed before a key; 0: none
        self.count = 0
        self._counting = False
        #: keys that came before there was a line to type in, or behind an Enter that is not done with
        self._waiting_keys: list[events.Key] | None = []
        self._front = "message"
        self._details_row: tuple[object, ...] | None = None
        # the parts are kept here: what is on the screen may be another page
        self.title_bar = Title()
        self.listed = MessageList(self.store)
        self.upper = Vertical(Head(self.listed), self.listed, id="upper")
        self.octets = Octets("bytes", id="bytes")
        self.panes: dict[str, Pane] = {
            "message": Pane("message", id="message", classes="front"),
            "bytes": self.octets,
            "state": Pane("session", id="state"),
        }
        self.lower = Horizontal(*self.panes.values(), id="lower")
        self.prompt = Prompt(self._line_done, self._let_go)
        self.key_bar = Keys()

    def compose(self) -> ComposeResult:
        self._fit(self.size.width)  # before there is anything that would be styled anew
        yield self.title_bar
        yield self.upper
        yield self.lower
        yield self.key_bar

    def on_mount(self) -> None:
        self.feed.advance(0)
        if not self.store.follow:
            # events tell how it began; what one came for begins behind them
            self.store.focus = self.feed.row_of(1) or 0
        self.store.advance(BUDGET_S)
        self.give_focus(self.listed)
        self.update_all()
        self.set_interval(TICK_S, self._tick)
        # first the picture; then what is not in it, and what the rules say of it
        self.call_after_refresh(self._stand)

    async def _stand(self) -> None:
        """The first picture is drawn."""
        await self.mount(self.prompt, before=self.key_bar)
        self._let_go()
        self.work()

    # -- parts

    def _line_done(self) -> None:
        """Nothing is typed any more."""
        self.give_focus(self.listed)
        self.call_later(self._let_go)

    @property
    def home(self) -> TextualScreen[object]:
        """The screen with the list; pages lie upon it."""
        return self.screen_stack[0]

    def pane(self, name: str) -> Pane:
        return self.panes[name]

    def say(self, text: str, role: str = "plain") -> None:
        """A word in the bottom line, until the next key."""
        self.key_bar.say(text, role)

    # -- time passes

    def _tick(self) -> None:
        if not self.feed.live and self.feed.progress >= 1 and self.store.busy is None and self._still:
            return  # nothing happens by itself any more
        self._still = not self.feed.live and self.feed.progress >= 1
        self.while_live()
        if not self._again:
            self._work_on()

    def _work_on(self) -> None:
        """There was more to do."""
        self._again = False
        self.work(AWAKE_BUDGET_S if monotonic() < self._awake_until else BUDGET_S)

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.InputEvent):
            self._awake_until = monotonic() + AWAKE_S
            # what nobody took comes by here again
            if isinstance(event, events.Key) and not event.is_forwarded and self._mine(event):
                return
        await super().on_event(event)

    def _mine(self, event: events.Key) -> bool:
        """Whether a key goes no further: it is part of a number, or has to wait until a line that was typed is done."""
        if self._waiting_keys is not None:
            self._waiting_keys.append(event)
            return True
        if not self.prompt.display:
            return self._count(event)
        if event.key in ("enter", "escape"):
            self._waiting_keys = []
            self.set_timer(_LINE_S, self._let_go)
        return False

    def _let_go(self) -> None:
        """What was pressed behind Enter comes now."""
        keys, self._waiting_keys = self._waiting_keys or (), None
        for key in keys:
            self.post_message(events.Key(key.key, key.character))

    def _count(self, event: events.Key) -> bool:
        """Digits are the number of the movement that follows; anything else ends what was said, and the number.

        Tells whether it was a digit.
        """
        # a key is done with before the next one is looked at only if nobody is called to do it: so the number is kept
        # until the next key, and begins anew with a digit behind another key
        digit = event.character if event.character is not None and event.character.isdecimal() else ""
        if digit and (digit != "0" or self._counting):
            self.count = min(int(f"{self.count if self._counting else ''}{digit}"), 10**9)
            self._counting = True
            self.say(str(self.count), "dim")
            return True
        if not self._counting:
            self.count = 0
        self._counting = False
        self.say("")
        return False

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The keys are the list's and the panes': not while something is typed, or on a page."""
        if action in _ACTIONS and (self.prompt.display or self.screen is not self.home):
            return False
        return super().check_action(action, parameters)

    def while_live(self) -> None:
        """Called at each tick."""

    def all_known(self) -> None:
        """Called when the feed has nothing to do for now."""

    def work(self, budget_s: float = BUDGET_S) -> None:
        """Have the feed and the store work for a while, and show what came of it; then go on by itself."""
        if not self.is_running or not self.listed.is_attached:
            return
        more = self.feed.advance(budget_s)
        if not more:
            self.all_known()
        self.store.advance(budget_s)
        if self.store.missed:
            self.say(f"“{escape(self.store.missed)}” is nowhere in what is shown", "warning")
            self.store.missed = ""
        self.update_all()
        if (more or self.store.busy is not None) and not self._again:
            self._again = True
            self.set_timer(0.02 if monotonic() < self._awake_until else 0.001, self._work_on)

    def update_all(self) -> None:
        """Bring the picture up to what is known."""
        self.listed.update()
        self._show_title()
        self.show_details()

    def _show_title(self) -> None:
        feed, store = self.feed, self.store
        counts = feed.counts()
        left: list[Span] = [(" vhostspy ", "title"), *self._ends(counts)]
        if store.paused_at is not None:
            left.append((f"  ‖ paused, {feed.rows - store.rows} new", "warning"))
        elif feed.live:
            left.append(("   live", "ok"))
        elif feed.note:
            left.append((f"  {escape(feed.note)}", "warning"))
        right: list[Span] = []
        if feed.progress < 1:
            right.append((f"{int(feed.progress * 100)} %  ", "title"))
        right.append((f"{plural(counts.messages, 'message')}  ", "dim"))
        if counts.sessions > 1:
            right.append((f"{plural(counts.sessions, 'session')}  ", "dim"))
        if counts.waiting and feed.live:
            age = duration(max(0, self.now_ns() - counts.since_ns))
            right.append((f"{counts.waiting} waiting for {age}  ", "warning"))
        if counts.errors:
            right.append((f"● {plural(counts.errors, 'error')}  ", "error"))
        if counts.warnings:
            right.append((f"▲ {plural(counts.warnings, 'warning')}  ", "warning"))
        if feed.rows and feed.start_ns:
            right.append((clock(feed.glance(feed.rows - 1).monotonic_ns - feed.start_ns), "plain"))
        right.append((" ", "plain"))
        self.title_bar.show(tuple(left), tuple(right))
        words = []
        if store.filter is not None:
            words.append(f"filter: {escape(store.filter.text)}")
        words += [word for on, word in ((store.only_fds, "with descriptors"), (store.only_marked, "marked"),
                                        (not store.with_events, "without events"), (store.folded, "folded"),
                                        (store.follow and feed.live, "following")) if on]  # fmt: skip
        shown = f"{store.places} of {store.rows}" if store.narrowed or store.folded else ""
        if store.busy is not None:
            shown += f"  {int(store.busy * 100)} % searched, Esc stops"
        self.upper.border_title = unmarked("  ".join(part for part in (" · ".join(words) or "messages", shown) if part))

    def _ends(self, counts: Counts) -> list[Span]:
        """What is watched: a file's name; or the two sockets, and whether somebody is there."""
        names = self.name_shown.split(" ⇄ ")
        if not self.feed.live or len(names) != 2:
            return [(f" {escape(self.name_shown)} ", "plain")]
        spans: list[Span] = []
        for name, there in zip(names, counts.ends, strict=True):
            spans += [(" ⇄" if spans else "", "dim"), (" ● " if there else " ○ ", "ok" if there else "dim")]
            spans.append((escape(name), "plain" if there else "dim"))
        return spans

    def show_details(self, *, anew: bool = False) -> None:
        """The panes follow the row in focus."""
        if anew:
            self._details_row = None
        store = self.store
        if not self.feed.rows:
            return
        row = min(store.focus, self.feed.rows - 1)
        glance = self.feed.glance(row)
        stands = glance.awaited and glance.partner is None
        if self.feed.live:
            stands = stands and self.now_ns() - glance.monotonic_ns > _STANDS_NS
        seen = (row, store.version, glance.partner, glance.severity, glance.studied, self.closed, stands)
        if seen == self._details_row:
            return
        keep = self._details_row is not None
        self._details_row = seen
        mark = store.marks.get(row)
        self.pane("message").make(lambda width: message_lines(self.feed, row, width, self.closed, mark), keep=keep)
        self._show_bytes()
        self.pane("state").make(lambda width: state_lines(self.feed, row, width, self.session_shown), keep=keep)
        item = self.feed.item(row)
        if not self.pane("state").has_focus:
            # once it is known how long it is; of a request that stands unanswered, who waits
            self.call_after_refresh(self.pane("state").show_first, WAITING if stands else CHANGED)
        self._state_title = f"session at #{item.no}" if isinstance(item, Message) else self._after(row)
        self._entitle()

    def _after(self, row: int) -> str:
        """Of an event: the message before it."""
        numbers = (self.feed.glance(each).no for each in range(row, max(-1, row - 100), -1))
        no = next((no for no in numbers if no), 0)
        return f"session after #{no}" if no else "session before #1"

    def _show_bytes(self) -> None:
        """The member under the cursor is lit among the octets; or the member that the octet under the cursor is of."""
        row = min(self.store.focus, self.feed.rows - 1)
        tree, octets = self.pane("message"), self.octets
        tree.marked = octets.has_focus
        if octets.has_focus:
            tree.cursor = _member_of(tree.lines, octets.octet, tree.cursor)
            tree.keep_in_sight()
            tree.refresh()
        line = tree.line
        lit = line.octets if line is not None and line.key and line.key[0] != "title" else None
        cursor = octets.octet if octets.has_focus else None
        octets.make(lambda width: bytes_lines(self.feed.item(row), width, lit, cursor))
        if octets.has_focus:
            octets.put(octets.octet)
        elif lit is not None:
            octets.put(lit[0])
        else:
            octets.put(0)

    # -- size

    def on_resize(self, event: events.Resize) -> None:
        self._fit(event.size.width)

    def _fit(self, width: int) -> None:
        self.home.set_class(width < NARROW, "narrow")
        self.home.set_class(NARROW <= width < MEDIUM, "medium")
        self._entitle()

    def _show_front(self) -> None:
        for name in PANES:
            self.pane(name).set_class(name == self._front, "front")
        self._entitle()

    def _entitle(self) -> None:
        """Where one pane is shown at a time, it tells of the others."""
        titles = {"message": "message", "bytes": "bytes", "state": self._state_title}
        alone = self.home.has_class("narrow") or self.home.has_class("zoomed")
        for name in PANES:
            others = ", ".join(titles[each].split()[0] for each in PANES if each != name)
            self.pane(name).entitle(f"{titles[name]}   Tab: {others}" if alone else titles[name])

    def action_grow(self, step: int) -> None:
        self._share = max(20, min(85, self._share + 5 * step))
        self.upper.styles.height = f"{self._share}fr"
        self.lower.styles.height = f"{100 - self._share}fr"

    # -- panes and focus

    def give_focus(self, part: Widget) -> None:
        """At once: the next key is for it."""
        self.home.set_focus(part)

    def action_next_pane(self, step: int = 1) -> None:
        names = ("list", *PANES)
        now = self.focused.id if self.focused is not None and self.focused.id in names else "list"
        self.action_pane(names[(names.index(now) + step) % len(names)])

    def action_pane(self, name: str) -> None:
        if name in PANES:
            self._front = name
            self._show_front()
        if self.home.has_class("zoomed"):
            self._zoom(name)
        self.give_focus(self.panes.get(name) or self.listed)

    def action_zoom(self) -> None:
        if self.home.has_class("zoomed"):
            self.home.remove_class("zoomed", "zoom-list", "zoom-lower")
            self._entitle()
        else:
            self._zoom(self.focused.id if self.focused is not None and self.focused.id else "list")

    def _zoom(self, name: str) -> None:
        self.home.add_class("zoomed")
        self.home.set_class(name not in PANES, "zoom-list")
        self.home.set_class(name in PANES, "zoom-lower")
        self._entitle()

    def on_message_list_moved(self) -> None:
        self.show_details()
        self._show_title()

    def on_message_list_chosen(self) -> None:
        self.action_pane("message")

    def on_pane_moved(self, event: Pane.Moved) -> None:
        if event.pane.id in ("message", "bytes"):
            self._show_bytes()

    def on_pane_folded(self, event: Pane.Folded) -> None:
        if event.line.key and event.line.key[0] == "member":
            self.closed = self.closed ^ {event.line.key[1]}
            self.show_details()

    # -- leaving

    def action_quit_or_back(self) -> None:
        if self.home.has_class("zoomed"):
            self.action_zoom()
        elif not isinstance(self.focused, MessageList):
            self.give_focus(self.listed)
        else:
            self.action_leave()

    def action_leave(self) -> None:
        self.exit(0)


def _member_of(lines: list[Line], octet: int, nothing: int) -> int:
    """The line of the smallest member that an octet is of."""
    found, least = nothing, 1 << 62
    for place, line in enumerate(lines):
        if line.octets is not None and line.key and line.key[0] == "member":
            begin, end = line.octets
            # of bits and their word the word: it comes first
            if begin <= octet < end and end - begin < least:
                found, least = place, end - begin
    return found


def clock(ns: int) -> str:
    minutes, rest = divmod(ns // 100_000_000, 600)
    return f"{minutes:02}:{rest // 10:02}.{rest % 10}"
