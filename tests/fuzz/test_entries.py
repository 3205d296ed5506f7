"""Random octets give a value or the error that is meant for it: 500 examples of each way in."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .entries import ENTRIES, Entry
from .mutation import changed

each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)


@each_entry
def test_seeds_are_well(entry: Entry) -> None:
    seeds = [*entry.seeds()]
    assert seeds
    for seed in seeds:
        entry.run(seed)


@each_entry
def test_any_octets(entry: Entry) -> None:
    seeds = [*entry.seeds()]
    near = st.integers(0, 1 << 32).map(lambda seed: changed(seeds, entry.longest, random.Random(seed)))

    @settings(max_examples=500, deadline=None)
    @given(st.binary(max_size=min(entry.longest, 200)) | near)
    def run(octets: bytes) -> None:
        entry.run(octets)

    run()
