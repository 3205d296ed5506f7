"""The capture file: what a record holds, writing it while traffic goes on, reading it; facts about descriptors."""
