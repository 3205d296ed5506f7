"""The corpus: what its names lead to."""

from __future__ import annotations

from pathlib import Path

import pytest

from vhostspy.corpus import CORPUS, Scenario, listing, scenarios
from vhostspy.errors import WrongUse
from vhostspy.testing.verdict import read

ROOT = Path(__file__).parents[2]
ALL = [(name, one) for name, (_, ones) in CORPUS.items() for one in ones]
#: what each set's device is called
DEVICES = {"blk": "block", "fs": "fs", "net": "net", "vsock": "vsock", "gpu": "gpu"}
MOST_BYTES = 5 << 20


@pytest.mark.parametrize(("name", "one"), ALL, ids=lambda each: getattr(each, "name", ""))
def test_each_front_end_is_recorded_whole(name: str, one: Scenario) -> None:
    recorded = read(one.path, one.device)
    assert recorded.trouble == ""
    assert {session.whole for session in recorded.sessions.values()} == {True}
    if name in DEVICES:
        assert {session.device for session in recorded.sessions.values()} == {DEVICES[name]}


def test_names_are_unique_and_listed() -> None:
    names = [*CORPUS, *(one.name for _, one in ALL)]
    assert len(names) == len(set(names))
    text = "\n".join(listing())
    assert all(name in text for name in names)


def test_a_set_or_one_of_it() -> None:
    assert [one.capture for one in scenarios("vsock")] == ["f-older-sid", "f-sid", "f-listen-sid"]
    assert [one.capture for one in scenarios("libblkio-1.5")] == ["a-sid"]
    with pytest.raises(WrongUse, match=r"no set of front-ends 'bulk' \(did you mean blk\?\)"):
        scenarios("bulk")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_captures_are_linked_into_the_package_and_small() -> None:
    link = ROOT / "vhostspy" / "captures"
    assert link.is_symlink() and link.readlink() == Path("..") / "captures"
    assert sum(path.stat().st_size for path in link.iterdir()) < MOST_BYTES
