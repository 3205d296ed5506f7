"""Play a recorded session's front-end or back-end to a real peer, and compare what that answers with the record.

A capture is the script (``script``), a player acts it out on real sockets with real descriptors (``player``), and what
came of it is a value (``outcome``). ``replay`` is all of it in one call.
"""

from __future__ import annotations

from .outcome import Mismatch, Outcome
from .player import play, replay
from .script import Part, Script
from .settings import Settings

__all__ = ["Mismatch", "Outcome", "Part", "Script", "Settings", "play", "replay"]
