"""What is shown and where one is, without a screen."""

from __future__ import annotations

import pytest

from tests.pipeline.conversation import Conversation
from vhostspy.filter import compile
from vhostspy.message import Message
from vhostspy.tui.store import Store

from .pretend import Pretend, feed


def shown(store: Store) -> list[int]:
    while store.advance(1) or store.busy is not None:
        pass
    return [store.row(place) for place in range(store.places)]


def test_without_a_filter_places_are_rows_and_nothing_is_kept_for_them() -> None:
    store = Store(feed())
    assert shown(store) == list(range(25))
    assert store._shown is None


def test_a_filter_shows_messages_that_match() -> None:
    store = Store(feed(), compile("message == SET_VRING_KICK"))
    assert shown(store) == [13, 19]


def test_the_focus_goes_to_a_message_that_is_shown() -> None:
    store = Store(feed())
    store.go_to_row(17)
    store.set_filter(compile("message == SET_VRING_KICK"))
    shown(store)
    assert store.focus == 13


def test_a_filter_goes_over_the_rows_bit_by_bit_and_can_be_stopped() -> None:
    store = Store(feed(slow=4), compile("message == SET_VRING_*"))
    store.advance(1)
    store.advance(1)
    assert store.busy == pytest.approx(8 / 25)
    assert store.places == 0
    store.advance(1)
    store.advance(1)
    assert store.stop()
    assert store.busy is None
    assert shown(store) == [10, 11, 12, 13, 14, 15]
    assert not store.stop()


def test_only_messages_with_descriptors() -> None:
    store = Store(feed())
    store.toggle_fds()
    assert shown(store) == [8, 13, 14, 19, 20]
    store.set_filter(compile("message == SET_VRING_CALL"))
    assert shown(store) == [14, 20]


def test_without_events() -> None:
    store = Store(feed())
    store.toggle_events()
    assert shown(store) == list(range(1, 23))


def test_only_marked_ones() -> None:
    store = Store(feed())
    store.toggle_mark(3)
    store.toggle_mark(24)
    store.comment("why?", 8)
    store.toggle_marked()
    assert shown(store) == [3, 8, 24]
    assert store.marks == {3: "", 8: "why?", 24: ""}


def test_show_all_undoes_every_narrowing() -> None:
    store = Store(feed(), compile("fds"))
    store.toggle_events()
    store.toggle_fds()
    store.show_all()
    assert shown(store) == list(range(25))


def repeating(*names: str) -> Pretend:
    said = Conversation()
    for name in names:
        if name.endswith("!"):
            said.reply(name[:-1], value=0)
        else:
            said.front_end(name, need_reply=True, index=0, num=1)
    return Pretend(said)


def test_repeated_messages_fold_into_one_line() -> None:
    store = Store(repeating("SET_VRING_NUM", "SET_VRING_NUM", "SET_VRING_NUM", "SET_VRING_BASE"))
    store.toggle_fold()
    assert shown(store) == [0, 1, 4]
    assert [store.times(place) for place in range(3)] == [1, 3, 1]


def test_a_request_and_its_answer_fold_in_turns() -> None:
    names = ["SET_VRING_ENABLE", "SET_VRING_ENABLE!"] * 3
    store = Store(repeating(*names, "SET_VRING_ENABLE"))
    store.toggle_fold()
    assert shown(store) == [0, 1, 2]
    assert [store.times(place) for place in range(3)] == [1, 4, 3]


def test_what_is_wrong_is_never_folded() -> None:
    from .pretend import WRONG

    pretend = repeating("SET_VRING_NUM", "SET_VRING_NUM", "SET_VRING_NUM")
    pretend.find(2, WRONG)
    store = Store(pretend)
    store.toggle_fold()
    assert shown(store) == [0, 1, 2, 3]


def test_moving_stays_within_what_is_shown() -> None:
    store = Store(feed(), compile("message == SET_VRING_KICK"))
    shown(store)
    store.move(-5)
    assert store.focus == 13
    store.move(1)
    assert store.focus == 19
    store.move(9)
    assert store.focus == 19


def test_a_jump_is_remembered() -> None:
    store = Store(feed())
    store.go_to_row(8)
    store.go_to_row(20)
    assert store.go_back() and store.focus == 8
    assert store.go_back() and store.focus == 0
    assert not store.go_back()


def test_a_jump_to_what_the_filter_hides_shows_all_again() -> None:
    store = Store(feed(), compile("fds"))
    shown(store)
    assert not store.go_to_row(5)
    assert store.filter is None and store.focus == 5


def test_request_and_answer_are_each_others_other() -> None:
    store = Store(feed())
    store.go_to_row(8)
    assert store.other == 9
    store.go_to_row(9)
    assert store.other == 8
    store.go_to_row(22)
    assert store.other is None


def test_the_first_finding_and_the_last_may_be_hidden() -> None:
    store = Store(feed(), compile("fds"))
    shown(store)
    assert not store.is_shown(7)
    assert store.edge_finding() == store.edge_finding(-1) == 7
    assert Store(feed(known=5)).edge_finding() is None


def test_marks_are_gone_through_in_order() -> None:
    store = Store(feed())
    for row in (3, 9, 20):
        store.toggle_mark(row)
    store.go_to_row(9)
    assert store.next_mark() == 20
    assert store.next_mark(-1) == 3
    store.go_to_row(20)
    assert store.next_mark() is None


def test_a_text_is_found_in_lines_forwards_and_backwards() -> None:
    store = Store(feed())
    store.find("kick")
    shown(store)
    assert store.focus == 13
    store.find("kick")
    shown(store)
    assert store.focus == 19
    store.find("kick")
    shown(store)
    assert store.focus == 13, "once around"
    store.find("KICK", -1)
    shown(store)
    assert store.focus == 19


def test_a_text_that_is_nowhere_is_told_and_moves_nothing() -> None:
    store = Store(feed())
    store.go_to_row(4)
    store.find("nothing has that")
    shown(store)
    assert (store.missed, store.focus) == ("nothing has that", 4)


def test_an_empty_capture_has_no_focus() -> None:
    store = Store(feed(known=0))
    store.move(3)
    store.find("x")
    assert shown(store) == []
    assert store.item is None and store.other is None


# -- live


def test_a_live_list_follows_its_end() -> None:
    growing = feed(known=3, live=True)
    store = Store(growing)
    shown(store)
    assert store.focus == 2
    growing.rows = 9
    shown(store)
    assert store.focus == 8


def test_moving_up_stops_following_and_the_last_line_goes_on() -> None:
    growing = feed(known=9, live=True)
    store = Store(growing)
    shown(store)
    store.move(-1)
    growing.rows = 12
    shown(store)
    assert store.focus == 7 and not store.follow


def test_pausing_stops_the_picture_and_not_the_feed() -> None:
    growing = feed(known=5, live=True)
    store = Store(growing)
    shown(store)
    assert store.pause()
    growing.rows = 20
    shown(store)
    assert (store.places, store.focus, growing.rows) == (5, 4, 20)
    assert not store.pause()
    shown(store)
    assert (store.places, store.focus) == (20, 19)


def test_a_filter_goes_on_while_the_capture_grows() -> None:
    growing = feed(known=14, live=True)
    store = Store(growing, compile("message == SET_VRING_KICK"))
    assert shown(store) == [13]
    growing.rows = 25
    assert shown(store) == [13, 19]


def test_a_paused_filter_shows_what_was_there() -> None:
    growing = feed(known=14, live=True)
    store = Store(growing, compile("message == SET_VRING_KICK"))
    shown(store)
    store.pause()
    growing.rows = 25
    assert shown(store) == [13]


def test_items_are_those_of_the_feed() -> None:
    store = Store(feed())
    store.go_to_row(8)
    assert isinstance(store.item, Message) and store.item.name == "ADD_MEM_REG"
