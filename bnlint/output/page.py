"""A rule's page in Markdown: the one renderer behind `docs/rules/` and `bnlint rule`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bnlint.rules.base import Example, Rule

_REFERENCE = re.compile(r"(?P<title>.*\S)\s*<(?P<url>\S+)>")


def rule_page(rule: Rule) -> str:
    """Everything about one rule, as Markdown that ends with a newline."""
    return "\n\n".join(part.strip("\n") for part in _parts(rule) if part) + "\n"


def _parts(rule: Rule) -> Iterator[str]:
    yield f"# {rule.code} {rule.name}"
    yield rule.summary
    yield f"{_severity(rule)} · {_default(rule)} · {_halves(rule)}"
    yield "## What it does"
    yield rule.what
    yield "## Why is this bad?"
    yield rule.why
    yield from _examples("## Wrong", rule.wrong)
    yield from _examples("## Right", rule.right)
    yield "## When this is fine"
    yield rule.fine_when
    if rule.fix_safety:
        yield "## The fix"
        yield rule.fix_safety
    if rule.options:
        yield "## Options"
        yield "\n".join(
            f"- `{option.name}` (default {option.default}): {option.text}"
            for option in rule.options
        )
        yield f"In the settings: `[tool.bnlint.rules.{rule.code}]`."
    yield "## References"
    yield "\n".join(f"- {_link(reference)}" for reference in rule.references)


def _severity(rule: Rule) -> str:
    if rule.live_severity in (None, rule.severity):
        return rule.severity.label
    return f"{rule.severity.label} (live check: {rule.live_severity.label})"


def _default(rule: Rule) -> str:
    selector = f"off unless selected (`--extend-select {rule.code}`)"
    source, live = rule.is_default(live=False), rule.is_default(live=True)
    if source == live:
        return "on by default" if source else selector
    return f"source: {'on by default' if source else selector}; live check: on by default"


def _halves(rule: Rule) -> str:
    """Where the finding comes from."""
    if rule.check is None:
        return "made by bnlint itself"
    live = "live check" + (" (with your own data)" if rule.needs_data else "")
    return " and ".join(name for name, has in (("source", rule.source), (live, rule.live)) if has)


def _examples(heading: str, examples: tuple[Example, ...]) -> Iterator[str]:
    if not examples:
        return
    yield heading
    for example in examples:
        if example.title:
            yield f"{example.title}:"
        yield f"```python\n{_without_marks(example.code)}\n```"


def _without_marks(code: str) -> str:
    """An example as a reader should see it: `# expect: BNL101` becomes `# BNL101`."""
    return code.replace("# expect: ", "# ").strip("\n")


def _link(reference: str) -> str:
    match = _REFERENCE.fullmatch(reference)
    return reference if match is None else f"[{match['title']}]({match['url']})"
