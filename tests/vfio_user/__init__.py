"""A vfio-user client and a PCI device of our own: each knows the wire, and nothing of vhostspy."""
