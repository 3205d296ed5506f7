"""Replays against the demo's synthetic peers, which know the wire and nothing else of vhostspy."""
