"""What is packed is unpacked as it was, and takes a kilobyte."""

from __future__ import annotations

from pathlib import Path

import pytest

from vhostspy.capture.reader import Reader
from vhostspy.index.checkpoints import Checkpoints
from vhostspy.pipeline import Pipeline

from ..output.captures import FEATURES, GET_FEATURES, OWNER, recording
from .test_index import CAPTURES


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_every_moment_is_kept_as_it_was(capture: Path) -> None:
    pipeline, checkpoints, snapshots = Pipeline(), Checkpoints(), []
    with Reader(capture) as reader:
        for record in reader:
            pipeline.feed(record)
            snapshots.append(pipeline.snapshot())
            checkpoints.append(snapshots[-1])
    assert len(checkpoints) == len(snapshots)
    for place in reversed(range(len(snapshots))):
        assert checkpoints[place] == snapshots[place]
    # a display's state has its messages
    assert "gpu" in capture.stem or max(map(len, checkpoints._packed)) < 1024


def test_what_does_not_change_is_kept_once(tmp_path: Path) -> None:
    with recording(tmp_path / "one.pcapng") as recorded:
        recorded.says(0, OWNER)
        recorded.event("close", text="session 1 ends")
        for _ in range(3):
            recorded.event("waits", session=2)
    pipeline, checkpoints = Pipeline(), Checkpoints()
    with Reader(tmp_path / "one.pcapng") as reader:
        for record in reader:
            pipeline.feed(record)
            checkpoints.append(pipeline.snapshot())
    ended = [session for place in (2, 3, 4) for session in checkpoints[place].sessions if session.number == 1]
    assert len(ended) == 3 and len({id(session) for session in ended}) == 1


def test_a_request_that_waits_keeps_its_row_and_not_what_was_decoded(tmp_path: Path) -> None:
    with recording(tmp_path / "one.pcapng") as recorded:
        recorded.says(0, GET_FEATURES)
        recorded.says(1, FEATURES)
    checkpoints, pipeline = Checkpoints(), Pipeline()
    with Reader(tmp_path / "one.pcapng") as reader:
        pipeline.feed(next(iter(reader)))
    [waiting] = pipeline.sessions[1].ledger["main", 1].waiting
    assert waiting.fields == {}
    checkpoints.append(pipeline.snapshot())
    [again] = checkpoints[0].sessions[0].ledger["main", 1].waiting
    assert again == waiting and again.row is waiting.row and not again.__dict__
    assert again.fields == {}
