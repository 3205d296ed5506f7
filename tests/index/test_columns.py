"""Numbers in columns are what was put in, however wide the columns have to be for them."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from vhostspy.index.columns import Times, fitting

U64 = st.integers(0, (1 << 64) - 1)


@given(st.lists(st.one_of(U64, st.integers(-3, 3).map(lambda near: near % (1 << 33)))), st.data())
def test_times(times: list[int], more: st.DataObject) -> None:
    kept, expected = Times(), []
    for time in times:
        kept.append(time)
        expected.append(time)
        if more.draw(st.booleans()):
            kept.pop()
            expected.pop()
    assert [kept[row] for row in range(len(kept))] == expected


@given(st.sampled_from("BHIQ"), st.lists(st.integers(0, 255)), U64)
def test_a_wider_column(code: str, values: list[int], value: int) -> None:
    column = array(code, values)
    wider = fitting(column, value)
    assert (wider is column) == (value < 1 << 8 * column.itemsize)
    wider.append(value)
    assert [*wider] == [*values, value]


@given(st.sampled_from("bhi"), st.lists(st.integers(-127, 127)), st.integers(0, (1 << 32) - 1))
def test_a_wider_column_of_distances(code: str, values: list[int], value: int) -> None:
    wider = fitting(array(code, values), value)
    wider.extend((value, -value))
    assert [*wider] == [*values, value, -value]
