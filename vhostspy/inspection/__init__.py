"""Looking into the memory of running sessions, from outside the relay: the only part that maps it. Never writes."""

from .attachment import Attachment, Seen
from .control import Asked, NoRelay, find

__all__ = ["Asked", "Attachment", "NoRelay", "Seen", "find"]
