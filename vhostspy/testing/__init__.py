"""For tests of front-ends and back-ends: to speak for one end in a few lines, and to look at what both ends said.

``FrontEnd`` and ``BackEnd`` are one end of a conversation, over any connected socket; messages, members and bits go by
their names (``vhostspy explain``). Under pytest the fixture ``vhostspy`` (a ``Spy``) puts the relay between them and a
program, and holds the session against the rules: docs/pytest.md.
"""

from __future__ import annotations

from .back_end import BackEnd
from .front_end import FrontEnd
from .program import Program
from .spy import Spy
from .talk import Heard, Talk, TalkError

__all__ = ["BackEnd", "FrontEnd", "Heard", "Program", "Spy", "Talk", "TalkError"]
