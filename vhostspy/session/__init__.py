"""A session as immutable values: what was agreed, what is set up, who waits for whom. No I/O, no clock."""
