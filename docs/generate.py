"""Write docs/rules/CODE.md for every rule, their index, and the schema of the settings.

Run: python docs/generate.py
"""

from __future__ import annotations

from pathlib import Path

from bnlint.output.page import rule_page
from bnlint.rules import all_rules
from bnlint.settings_text import schema_text

SCHEMA = Path(__file__).parents[1] / "bnlint" / "settings.schema.json"
RULES = Path(__file__).parent / "rules"


def pages() -> dict[str, str]:
    """The text of each generated file, by name."""
    rows = "\n".join(
        f"| [{rule.code}]({rule.code}.md) | {rule.name} | {rule.severity.label}"
        f"{'' if rule.default else ' (opt-in)'} | {rule.summary} |"
        for rule in all_rules()
    )
    index = f"# Rules\n\n| code | name | severity | what it finds |\n|---|---|---|---|\n{rows}\n"
    return {"index.md": index} | {f"{rule.code}.md": rule_page(rule) for rule in all_rules()}


def main() -> None:
    """Write all pages and remove those of rules that are gone."""
    RULES.mkdir(exist_ok=True)
    texts = pages()
    for stale in {path.name for path in RULES.glob("*.md")} - texts.keys():
        (RULES / stale).unlink()
    for name, text in texts.items():
        (RULES / name).write_text(text, encoding="utf-8")
    SCHEMA.write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
