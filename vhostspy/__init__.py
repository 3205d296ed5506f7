"""vhostspy: a man-in-the-middle debugger for vhost-user and vfio-user."""

__version__ = "0.1.0"
