"""The application: the keys of the screen itself, live sessions, and the commands behind ``:``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from textual.app import SystemCommand
from textual.screen import Screen as TextualScreen

from vhostspy.errors import Failure
from vhostspy.filter import Filter
from vhostspy.message import SEVERITIES, Event, Finding
from vhostspy.nearest import nearest
from vhostspy.output.units import escape, plural
from vhostspy.session.state import Session

from .choice import Choice
from .choose import complete_filter, filter_trouble
from .columns import BY_NAME as COLUMN_NAMES
from .columns import SIGNS
from .commands import COMMANDS, Command, complete, find
from .feed import Feed
from .give import Giving
from .line import Line

if TYPE_CHECKING:
    from vhostspy.rules.engine import Rules

    from .live import Relay
    from .look import Looking


class Screen(Giving):
    """One capture on the screen.

    source: where it is, for what copies from it. marks_beside: the file beside which marks are kept, "" for none.
    relay: the one that writes it, None for a file; it stays the caller's. rules: what makes those that the memory of
    its sessions is held against.
    """

    def __init__(
        self,
        feed: Feed,
        filter: Filter | None = None,
        *,
        source: str | int = "",
        marks_beside: str = "",
        relay: Relay | None = None,
        rules: Callable[[], Rules] | None = None,
    ) -> None:
        super().__init__(feed, filter)
        self.source = source
        self.marks_beside = marks_beside
        self.relay = relay
        self._rules = rules
        self._looking: Looking | None = None
        #: findings up to this row have been told
        self._told = -1
        self._rows_seen = 0
        #: what is waited for, or what the relay said that it is trying
        self._trying = ""

    # -- live

    def action_follow(self) -> None:
        store = self.store
        if not self.feed.live:
            self.say("nothing is live: there is nothing to follow", "warning")
            return
        store.follow = not store.follow
        self.work()
        self.listed.moved()

    def action_pause(self) -> None:
        still = self.store.pause()
        self.update_all()
        self.say("the picture stands still; the traffic goes on" if still else "")

    def while_live(self) -> None:
        """Called at each tick: what the relay says is for people."""
        if self.relay is not None:
            self._tell_what_came()  # first: what the relay says now may be about what comes next
            for text in self.relay.heard():
                text = escape(text.removeprefix("vhostspy: "))
                if "trying again" in text:
                    self._trying = text
                self.say(text, "note")
        if self.feed.live:
            self._tell_findings()

    def _tell_what_came(self) -> None:
        """What is waited for at first; and when something comes, what the relay was trying is done, or given up."""
        rows, self._rows_seen = self._rows_seen, self.feed.rows
        if self.feed.rows == rows:
            return
        last = self.feed.item(self.feed.rows - 1)
        if isinstance(last, Event) and last.event == "fault":
            self.say(escape(last.text), "warning")
        elif isinstance(last, Event) and last.event == "start":
            self._trying = _waits_for(last)
            self.say(self._trying, "note")
        elif self._trying and self.key_bar.said == (self._trying, "note"):
            self.say("")

    def _tell_findings(self) -> None:
        """Findings, as they come: the last of them in the bottom line."""
        row = self.feed.next_finding(self._told, 1)
        while row is not None and row > self._told:
            self._told = row
            for one in self.feed.item(row).findings:
                self.say(self._told_of(row, one), one.severity)
            row = self.feed.next_finding(row, 1)

    def _told_of(self, row: int, one: Finding) -> str:
        """A finding in one line, which ends with the key that leads to it."""
        store = self.store
        focus = self.feed.rows - 1 if store.follow and store.paused_at is None else store.focus
        key = next((key for key, step in (("!", 1), ("@", -1)) if self.feed.next_finding(focus, step) == row), "")
        before = f"{SIGNS[SEVERITIES[one.severity]]} "
        behind = f" ({one.rule}{f'; {key} goes there' if key else ''})"
        room = max(20, self.size.width - len(before) - len(behind) - 2)
        text = escape(one.text)
        return f"{before}{text if len(text) <= room else text[: room - 1] + '…'}{behind}"

    def action_leave(self) -> None:
        relay = self.relay
        if relay is None or not relay.alive:
            self._leave_ended()
            return
        if not relay.ours:
            self.exit(0)
            return
        open_ = sum(1 for session in self.feed.sessions(self.feed.rows - 1).values() if session.ended is None)
        state = f"{plural(open_, 'session')} would end with it" if open_ else "no session is open"
        kept = "" if relay.path else "\nWhat has passed is kept in no file (x writes one)."
        self.push_screen(
            Choice(
                f"The relay still runs: {state}.{kept}",
                (("e", "end the relay, and leave"), ("l", "leave it running; vhostspy tui watches it again")),
            ),
            self._left,
        )

    def _leave_ended(self) -> None:
        """Nothing runs any more; but what was kept in no file would be lost."""
        if self.relay is not None and not self.relay.path and self.feed.rows and not self.written:
            self.push_screen(
                Choice("What has passed is kept in no file, and would be lost.", (("q", "quit"), ("x", "write it"))),
                lambda answer: self.exit(0) if answer == "q" else self.action_export() if answer == "x" else None,
            )
        else:
            self.exit(0)

    def _left(self, answer: str | None) -> None:
        if answer == "e" and self.relay is not None:
            self.relay.end()
            self.exit(0)
        elif answer == "l":
            self.exit(0)

    def looking(self, row: int) -> Callable[[Session, int], list[Line]] | None:
        """A relay that runs, and nothing said since the row but what is of other sessions."""
        relay = self.relay
        if relay is None or not relay.alive or row < self.feed.rows - 1:
            return None
        if self._looking is None:
            try:
                self._looking = relay.look(self._rules() if self._rules is not None else None)
            except Failure as failure:
                self.say(str(failure), "warning")
                return None
        return self._looking.lines

    def on_unmount(self) -> None:
        if self._looking is not None:
            self._looking.close()

    def _ask(self, do: str, said: str, **members: str) -> str | None:
        if self.relay is None:
            return "nothing is relayed here: this is a capture"
        trouble = self.relay.ask(do, **members)
        if not trouble:
            self.say(said)
        return trouble or None

    # -- the screen

    def action_theme(self) -> None:
        themes = sorted(self.available_themes)
        self.theme = themes[(themes.index(self.theme) + 1) % len(themes)]
        self.say(f"theme {self.theme}")

    def action_command(self) -> None:
        self.prompt.ask(":", self.command, check=self._command_trouble, complete=partial(complete, more=self._words))

    def command(self, text: str) -> str | None:
        """Carry out a line; gives what is wrong with it."""
        command, rest, trouble = find(text)
        if command is None:
            return trouble or None
        if not rest and not command.alone:
            return f"{command.name} wants {command.takes}: {command.text}"
        run: Callable[[str], str | None] | None = getattr(self, f"do_{command.name}", None)
        if run is not None:
            return run(rest)
        getattr(self, f"action_{command.name}")()
        return None

    def _command_trouble(self, text: str) -> str:
        """While it is typed, only what is certainly wrong is said."""
        command, rest, trouble = find(text)
        if command is None:
            return (
                trouble if " " in text.strip() or not any(one.name.startswith(text.strip()) for one in COMMANDS) else ""
            )
        return filter_trouble(rest) if command.name == "filter" else ""

    def _words(self, kind: str, word: str) -> Iterable[str]:
        if kind == "theme":
            return sorted(self.available_themes)
        if kind == "explain":
            from .explain import names

            return names()
        return complete_filter(word) if kind == "filter" else ()

    def get_system_commands(self, screen: TextualScreen[object]) -> Iterable[SystemCommand]:
        """The palette offers every command; those that want an argument are begun in the line."""
        for command in COMMANDS:
            yield SystemCommand(f"{command.name} {command.takes}".strip(), command.text, partial(self._chosen, command))

    def _chosen(self, command: Command) -> None:
        if command.alone:
            trouble = self.command(command.name)
            if trouble:
                self.say(trouble, "warning")
        else:
            self.action_command()
            self.prompt.put(f"{command.name} ")

    # -- commands, in the order of their table; those that are a key's action alone are not here

    def do_filter(self, rest: str) -> str | None:
        return self.set_filter(rest)

    def do_find(self, rest: str) -> str | None:
        return self.find_text(rest)

    def do_goto(self, rest: str) -> str | None:
        return self.go_to_text(rest)

    def do_comment(self, rest: str) -> str | None:
        return self.set_comment(rest)

    def do_only(self, rest: str) -> str | None:
        store = self.store
        if rest == "all":
            store.show_all()
        elif rest == "fds":
            store.toggle_fds()
        elif rest == "marked":
            store.toggle_marked()
        elif rest == "messages":
            store.toggle_events()
        else:
            return f"{rest} is none of all, fds, marked, messages"
        self.narrowed()
        return None

    def do_columns(self, rest: str) -> str | None:
        chosen = dict(self.listed.chosen_columns) if rest else {}
        for word in rest.split():
            sign, name = word[0], word.lstrip("+-")
            if name not in COLUMN_NAMES:
                return f"there is no column {name!r}{nearest(name, COLUMN_NAMES)}; there are {', '.join(COLUMN_NAMES)}"
            chosen[name] = sign != "-"
        self.listed.chosen_columns = chosen
        self.listed.lay_out()
        self.listed.refresh()
        return None

    def do_width(self, rest: str) -> str | None:
        name, _, cells = rest.partition(" ")
        if name not in COLUMN_NAMES or name == "info":
            return f"there is no column {name!r} with a width{nearest(name, COLUMN_NAMES)}"
        if not cells.strip().isdecimal() or not 1 <= int(cells) <= 200:
            return f"{cells or 'nothing'} is no number of cells, 1 to 200"
        self.listed.widths[name] = int(cells)
        self.listed.lay_out()
        self.listed.refresh()
        return None

    def do_explain(self, rest: str) -> str | None:
        if rest:
            self.explain(rest)
        else:
            self.action_explain()
        return None

    def do_session(self, rest: str) -> str | None:
        if rest and not rest.isdecimal():
            return f"{rest} is no session's number"
        self.session_shown = int(rest) if rest else None
        self.show_details(anew=True)
        return None

    def do_timeline(self, rest: str) -> str | None:
        if rest:
            return self.write_timeline(rest)
        self.action_timeline()
        return None

    def do_copy(self, rest: str) -> str | None:
        return self.copy(rest)

    def do_write(self, rest: str) -> str | None:
        return self.write(rest)

    def do_wireshark(self, rest: str) -> str | None:
        return self.open_wireshark()

    def do_note(self, rest: str) -> str | None:
        return self._ask("annotate", "the note is in the capture", text=rest)

    def do_detach(self, rest: str) -> str | None:
        return self._ask("detach", "the relay records no more; its traffic goes on")

    def do_theme(self, rest: str) -> str | None:
        if rest not in self.available_themes:
            return f"there is no theme {rest!r}{nearest(rest, self.available_themes)}"
        self.theme = rest
        return None

    def do_quit(self, rest: str) -> str | None:
        self.action_leave()
        return None


def _waits_for(start: Event) -> str:
    """What has to happen until there is something to see."""
    listen = start.facts.get("listen")
    names = [escape(str(name)) for name in listen] if isinstance(listen, list) else []
    return "no session yet" + (f"; one begins when somebody connects to {' and '.join(names)}" if names else "")
