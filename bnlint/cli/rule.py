"""`bnlint rule`: the pages of the rules in the terminal."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from bnlint.cli import CommandError
from bnlint.cli.options import complete_rules
from bnlint.rules import all_rules, find_rule
from bnlint.rules.base import Example, Rule
from bnlint.settings import specificity
from bnlint.spelling import did_you_mean_rule


@click.command()
@click.argument("names", nargs=-1, metavar="[CODE or NAME]...", shell_complete=complete_rules)
@click.option("--all", "everything", is_flag=True, help="The pages of all rules.")
@click.option(
    "--output-format",
    type=click.Choice(["full", "json"]),
    default="full",
    show_default=True,
    help="The page, or its parts as JSON.",
)
def rule(names: tuple[str, ...], everything: bool, output_format: str) -> None:
    """Explain rules: what they find, why, examples, when it is fine. Without names, and for the
    beginning of codes such as BNL1: a list."""
    rules = list(all_rules())
    if names and not everything:
        rules = list(dict.fromkeys(rule for name in names for rule in _find(name)))
    if output_format == "json":
        click.echo(json.dumps([_to_dict(rule) for rule in rules], indent=2))
    elif not everything and not all(map(find_rule, names or ("",))):
        width = max(len(rule.name) for rule in rules)
        click.echo("".join(_row(rule, width) for rule in rules), nl=False)
    else:
        _print_pages(rules)


def _find(name: str) -> list[Rule]:
    """The rule of this code or name, or the rules whose codes begin so."""
    found = [rule for rule in all_rules() if specificity(name, rule)]
    if not found:
        guess = did_you_mean_rule(name)
        raise CommandError(f"unknown rule {name!r}{guess}: `bnlint rule` lists the rules")
    return found


def _row(rule: Rule, width: int) -> str:
    opt_in = "" if rule.default else " (opt-in)"
    return f"{rule.code}  {rule.name:<{width}}  {rule.severity.label:<7}  {rule.summary}{opt_in}\n"


def _print_pages(rules: list[Rule]) -> None:
    """Markdown, rendered on a terminal and as it is elsewhere."""
    from bnlint.cli.printing import shows_colour
    from bnlint.output.page import rule_page

    pages = [rule_page(rule) for rule in rules]
    if not shows_colour():
        click.echo("\n".join(pages), nl=False)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    for page in pages:
        console.print(Markdown(page))


def _to_dict(rule: Rule) -> dict[str, Any]:
    return {
        "code": rule.code,
        "name": rule.name,
        "severity": rule.severity.label,
        "default": rule.default,
        "source": rule.source,
        "live": rule.live,
        "live_severity": (rule.live_severity or rule.severity).label,
        "live_default": rule.is_default(live=True),
        "needs_data": rule.needs_data,
        "summary": rule.summary,
        "what": rule.what,
        "why": rule.why,
        "fine_when": rule.fine_when,
        "fix_safety": rule.fix_safety,
        "wrong": [_example(example) for example in rule.wrong],
        "right": [_example(example) for example in rule.right],
        "options": [asdict(option) for option in rule.options],
        "references": list(rule.references),
    }


def _example(example: Example) -> dict[str, str]:
    return {"title": example.title, "code": example.code}
