"""The protocols as tables, and what is derived from them; imported as ``vhostspy.dissectors``."""
