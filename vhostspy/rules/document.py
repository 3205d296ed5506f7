"""``docs/rules.md``, made of the rules: ``python -m vhostspy.rules.document > docs/rules.md``."""

from __future__ import annotations

from collections.abc import Iterator

from .catalogue import MODULES, rules_of
from .peers import TITLES

#: ids of the documents that have no rule of their own here -> the rule that stands for them, or why they wait
ELSEWHERE = {
    "VU-BE-03": "VU-HDR-01 and VU-HDR-05",
    "VU-BE-04": "VU-SZ-01 and its neighbours",
    "VU-SO-04": "VU-FD-13",
    "VU-DS-04": "VU-FD-09",
}
WAITING = {
    "VU-DS-05": "CHECK_DEVICE_STATE before the end of the state's stream: needs the pipe, which passes on untouched.",
}

HEAD = """\
# Rules

Made by `python -m vhostspy.rules.document > docs/rules.md` from the rules themselves (`vhostspy/rules/`); a test says
when it is not up to date. `vhostspy explain VU-RPL-02` says the same at the prompt.

`vhostspy check FILE…` holds recorded sessions against them, `--validate` a running one; `docs/json.md` has the form of
a finding. An **error** breaks a must, or a known peer; a **warning** breaks a should, or is probably a mistake; a
**note** is unusual. Where an implementation is known to bend a rule (last column) and is recognised by what it sends,
the finding weighs one step less and says so; a note is then left out. Who is recognised by what is in
`vhostspy/rules/peers.py`; `--peer-profile END=NAME` says it, `END=unknown` has nobody excused.

`--enforce` ends a session at its first error, before the message goes on. `--disable`, `--peer-profile` and
`--baseline` hold for it as they do for `check`. Only messages end a session: what shows in a silence or at an end of
file (an answer that does not come, two channels that wait for each other) holds nothing back, and rules about
reconnects find nothing there, as each session is judged alone. `--strict` counts these too.

What was not seen is not judged: a capture that begins in the middle, or has a hole, is silent about what was agreed on
before.
"""


def markdown() -> str:
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield HEAD
    for module in MODULES:
        rules = list(rules_of(module))
        if not rules:
            continue
        yield f"## {_title(module.__doc__ or '')}"
        yield ""
        yield "| rule | severity | what is checked | source | bent by |"
        yield "|---|---|---|---|---|"
        for rule in rules:
            text = _cell(rule.text) + (f". {_cell(rule.notes)}" if rule.notes else "")
            bends = ", ".join(TITLES[name] for name in rule.bends)
            yield f"| {rule.id} | {rule.severity} | {text} | {_cell(rule.source)} | {bends} |"
        yield ""
    yield "## Ids that another rule stands for"
    yield ""
    for id, rule_id in ELSEWHERE.items():
        yield f"- {id}: {rule_id}"
    yield ""
    yield "## What waits"
    yield ""
    yield "These cannot be proved by messages alone."
    yield ""
    for id, why in WAITING.items():
        yield f"- {id}: {why}"


def _title(doc: str) -> str:
    """The first sentence of a module's docstring."""
    return doc.strip().split("\n")[0].rstrip(".").replace("``", "`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    print(markdown(), end="")
