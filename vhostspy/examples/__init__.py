"""Tests to copy from; each runs: ``pytest --pyargs vhostspy.examples``."""
