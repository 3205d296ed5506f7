"""What stands around a relay: its options, where its capture goes, the processes that read it, signals and descriptors.

The relay's process does nothing but relay and record; all of this is loaded before the first session, or not at all.
"""
