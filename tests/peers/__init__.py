"""vhostspy between real programs, which come from Debian's packages."""
