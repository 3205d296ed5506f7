"""Each rule has a conversation that breaks it, and a near one that doesn't: it was asked there, and found nothing.

The conversations are those of this folder, so this only says something after all of them (``conftest.py`` has it last).
"""

from __future__ import annotations

import pytest

from vhostspy.rules.catalogue import BY_ID

from .talk import BROKEN, KEPT, UNASKED

#: they listen to nothing but what is wrong, so a near one does not ask them
ONLY_WHAT_IS_WRONG = {
    "VU-HDR-03", "VU-HDR-04", "VU-HDR-05", "VU-HDR-06", "VU-HDR-11", "VU-CLS-05", "VU-OWN-04", "VU-GPU-02", "VG-02",
    "VF-HDR-07",
}  # fmt: skip


@pytest.mark.parametrize("rule", BY_ID)
def test_a_conversation_breaks_it(rule: str) -> None:
    assert rule in BROKEN, f"no conversation breaks {rule}"


@pytest.mark.parametrize("rule", BY_ID)
def test_a_near_one_does_not(rule: str) -> None:
    kept = KEPT | UNASKED if rule in ONLY_WHAT_IS_WRONG else KEPT
    assert rule in kept, f"no conversation in which {rule} was asked is held to not breaking it"
