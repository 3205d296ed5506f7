"""A capture's index: a million messages to be looked at in any order, without a million objects.

Works on a finished file and on one that grows, in slices, so that a screen never stalls: first the file's blocks are
scanned into columns (``scan``), then studied by the pipeline (``study``), which says who answers whom and what is
wrong, and leaves checkpoints. Any row is there whole at any time, and the sessions as they were at that moment.
"""

from __future__ import annotations

from .index import Glance, Index
from .search import Search

__all__ = ["Glance", "Index", "Search"]
