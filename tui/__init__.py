"""The Textual application: a session on the screen, live or from its capture."""
