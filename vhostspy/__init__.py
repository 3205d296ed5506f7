"""vhostspy: a man-in-the-middle debugger for vhost-user."""

__version__ = "0.1.0"
