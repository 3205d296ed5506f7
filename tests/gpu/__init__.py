"""A graphics back-end and the screen that it draws on, of our own: they know the wire, and nothing of vhostspy."""
