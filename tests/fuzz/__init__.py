"""Octets that nobody sent, into everything that reads some: a value comes out, or the error that is meant for it.

``entries`` are the places where octets or text come in from outside. ``test_entries`` tries 500 examples of each in
every run; ``python -m tests.fuzz`` (``make fuzz``) a million, guided by coverage where atheris is installed.
"""
