"""Two messages, two sequences of them, two sessions: what is the same, and by which member they differ.

Values in, values out. ``expected`` is what was recorded, or the first of two recordings; ``came`` is held against it.
"""

from .facts import Strictness, facts
from .message import Difference, differences, told
from .sequence import Pair, align

__all__ = ["Difference", "Pair", "Strictness", "align", "differences", "facts", "told"]
