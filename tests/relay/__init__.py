"""The relay between real sockets: what it must never lose, mix, reorder, keep or wait for."""
