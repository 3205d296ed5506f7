"""The relay: same bytes, same descriptors, first; everything else reads the capture that it leaves behind."""
