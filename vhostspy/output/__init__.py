"""How messages, events and summaries are written for people and for programs."""
