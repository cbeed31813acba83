"""Values of command-line options, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnlint.cli import CommandError
from bnlint.finding import Severity
from bnlint.records import replace
from bnlint.settings import (
    OUTPUT_FORMATS,
    Settings,
    SettingsError,
    check_patterns,
    check_selectors,
    load_settings,
)

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SELECTION = ("select", "extend_select", "ignore", "extend_ignore", "config", "isolated")
"""The options that `selection_from` reads."""


def comma_list(ctx: click.Context, option: click.Parameter, value: Any) -> tuple[str, ...] | None:
    """Values of a repeatable option that also takes several at once, separated by commas."""
    if not value:
        return None
    items = tuple(item.strip() for text in value for item in text.split(",") if item.strip())
    if not items:
        raise click.BadParameter("give at least one", ctx, option)
    return items


def complete_rules(
    ctx: click.Context, option: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What a shell offers for a list of rules, of which the last one is not complete."""
    from click.shell_completion import CompletionItem

    from bnlint.rules import all_rules

    before, comma, begun = incomplete.rpartition(",")
    return [
        CompletionItem(f"{before}{comma}{word}", help=rule.summary)
        for rule in all_rules()
        for word in (rule.code, rule.name)
        if (begun and word.lower().startswith(begun.lower())) or (not begun and word == rule.code)
    ]


def selector_option(name: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option that takes rules: codes, the beginning of codes, names or ALL."""
    return click.option(
        name,
        multiple=True,
        metavar="RULES",
        callback=comma_list,
        shell_complete=complete_rules,
        help=text,
    )


def pattern_option(name: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option that takes patterns as in .gitignore."""
    return click.option(name, multiple=True, metavar="PATTERNS", callback=_patterns, help=text)


def _patterns(ctx: click.Context, option: click.Parameter, value: Any) -> tuple[str, ...] | None:
    items = comma_list(ctx, option, value)
    try:
        return None if items is None else check_patterns(items, option.opts[0])
    except SettingsError as error:
        raise CommandError(str(error)) from None


def settings_from(start: Path, options: dict[str, Any]) -> Settings:
    """The file's settings with the command line's on top; raises SettingsError."""
    settings = selection_from(start, options)
    return replace(settings, **_simple(options, settings))


def selection_from(start: Path, options: dict[str, Any]) -> Settings:
    """The file's settings with the command line's choice of rules on top; raises SettingsError."""
    config: Path | None = options["config"]
    try:
        found = load_settings(start, config, isolated=options["isolated"], root=options.get("root"))
    except SettingsError as error:
        if config is None or config.is_file():
            raise
        remedy = "give a bnlint.toml or a pyproject.toml"
        raise SettingsError(f"--config {error} ({remedy})") from None
    selectors = {
        key: check_selectors(options[key] or (), f"--{key.replace('_', '-')}")
        for key in ("extend_select", "ignore", "extend_ignore")
    }
    select = options["select"]
    if select is not None:
        select = check_selectors(select, "--select")
    return found.override(select=select, **selectors)


def _simple(options: dict[str, Any], found: Settings) -> dict[str, Any]:
    """The options that simply replace or extend a setting, where they were given."""
    values: dict[str, Any] = {}
    if options["exclude"] is not None:
        values["exclude"] = _from_here(options["exclude"], found)
    if options["extend_exclude"] is not None:
        extra = _from_here(options["extend_exclude"], found)
        values["extend_exclude"] = (*found.extend_exclude, *extra)
    if options["force_exclude"]:
        values["force_exclude"] = True
    if options["no_prefilter"]:
        values["prefilter"] = False
    if options["fail_level"] is not None:
        values["fail_level"] = Severity.parse(options["fail_level"])
    values["cache"] = not options["no_cache"]
    values["cache_dir"] = None if options["no_cache"] else options["cache_dir"] or found.cache_dir
    for key in ("root", "jobs", "output_format", "baseline"):
        if options[key] is not None:
            values[key] = options[key]
    return values


def _from_here(patterns: tuple[str, ...], found: Settings) -> tuple[str, ...]:
    """Patterns of the command line are relative to the working directory, like its paths."""
    here = Path.cwd()
    if found.base is None or found.base == here or not here.is_relative_to(found.base):
        return patterns
    prefix = here.relative_to(found.base).as_posix()
    is_anchored = (pattern.rstrip("/").count("/") > 0 for pattern in patterns)
    return tuple(
        f"/{prefix}/{p.removeprefix('./').lstrip('/')}"
        if anchored and not Path(p).is_absolute()
        else p
        for p, anchored in zip(patterns, is_anchored)
    )


FORMATS = click.Choice(OUTPUT_FORMATS)
