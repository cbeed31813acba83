"""[tool.bnlint] and command-line options as one frozen Settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bnlint.finding import Severity
from bnlint.records import Record, field, replace, set_once

if TYPE_CHECKING:
    from bnlint.rules.base import Rule
from bnlint.spelling import did_you_mean, did_you_mean_rule

DEFAULT_EXCLUDE: Final = (
    ".bzr", ".direnv", ".eggs", ".git", ".git-rewrite", ".hg", ".ipynb_checkpoints",
    ".mypy_cache", ".nox", ".pants.d", ".pyenv", ".pytest_cache", ".pytype", ".ruff_cache",
    ".svn", ".tox", ".venv", ".vscode", "__pycache__", "__pypackages__", "_build", "buck-out",
    "dist", "node_modules", "site-packages", "venv",
)  # fmt: skip
"""Names of folders that are never entered unless they are given by name: Ruff's list."""

ALWAYS_ON: Final = frozenset({"BNL901"})
"""Findings about the run itself: on whatever is selected, off only when ignored."""
CRASH: Final = "BNL903"
"""Something of the run is missing: never off, never excused."""

OUTPUT_FORMATS: Final = ("full", "concise", "json", "sarif", "github", "gitlab", "junit")
LEVELS: Final = tuple(level.label for level in Severity)
_SELECTORS: Final = ("select", "extend_select", "ignore", "extend_ignore")
_LISTS: Final = (
    *_SELECTORS, "exclude", "extend_exclude", "extra_batchnorm", "extra_activations",
    "evaluating_factories", "training_functions",
)  # fmt: skip
"""The fields that hold lists of strings; the first four hold selectors of rules."""
_T = TypeVar("_T")
_ESCAPED: Final = re.compile(r"\\.")
_BRACKET: Final = re.compile(r"\[[!^]?(\]?(?:\[:\w+:\]|[^\]])*)\]")
_RANGE: Final = re.compile(r"([^:])-([^:])")
_FAMILY: Final = re.compile(r"[A-Z]{2,}\d*", re.IGNORECASE)


_UNWRITTEN: Final = ("base", "source", "cache")
"""What the settings know and no file says."""


class SettingsError(Exception):
    """The configuration cannot be used; the message names the file and the key."""


class Settings(Record, frozen=True):
    """Everything that a run may be told.

    select, extend_select, ignore, extend_ignore: rule selectors: a code (BNL101), the beginning of
        codes (BNL1), a rule's name, or ALL. The most specific one decides; ignoring wins a tie.
    exclude, extend_exclude: patterns as in .gitignore, relative to `base`.
    force_exclude: whether patterns also hold for files given by name.
    root: the project's root; None finds it.
    jobs: processes; 0 chooses, 1 stays in this process.
    prefilter: whether files that cannot matter are left unread.
    per_file_ignores: patterns of files, relative to `base`, and what is ignored there.
    baseline: the file of findings that are not to be shown; None shows all.
    extra_batchnorm, extra_activations: classes and functions that stand for torch's own.
    evaluating_factories: functions of the project that return an evaluated model.
    training_functions: functions that leave the models they are given in training mode.
    rules: options of single rules, by code and name.
    cache_dir: where to keep what was found, for the next run; None: `.bnlint_cache` in the root of
        the project, if anywhere.
    cache: whether a run without a `cache_dir` keeps anything: the command line, the language server
        and the flake8 plugin do.
    source: the file that was read; None for built-in settings.
    """

    select: tuple[str, ...] | None = None
    extend_select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    extend_ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = DEFAULT_EXCLUDE
    extend_exclude: tuple[str, ...] = ()
    force_exclude: bool = False
    root: Path | None = None
    base: Path | None = None
    jobs: int = 0
    prefilter: bool = True
    fail_level: Severity = Severity.WARNING
    output_format: str = "full"
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    baseline: Path | None = None
    extra_batchnorm: tuple[str, ...] = ()
    extra_activations: tuple[str, ...] = ()
    evaluating_factories: tuple[str, ...] = ()
    training_functions: tuple[str, ...] = ()
    rules: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    cache_dir: Path | None = None
    cache: bool = False
    source: Path | None = None

    def __post_init__(self) -> None:
        """Raise SettingsError where somebody who writes these by hand made a mistake."""
        for key in _LISTS:
            value = getattr(self, key)
            if value is None and key == "select":
                continue
            if not isinstance(value, (tuple, list)) or not all(isinstance(v, str) for v in value):
                raise SettingsError(f"Settings: {key}: must be a list of strings, not {value!r}")
            set_once(self, key, tuple(value))
            if key in _SELECTORS:
                check_selectors(value, f"Settings: {key}")
        if isinstance(self.fail_level, str):
            level = _one_of(self.fail_level, LEVELS, "Settings: fail_level")
            set_once(self, "fail_level", Severity.parse(level))
        _one_of(self.output_format, OUTPUT_FORMATS, "Settings: output_format")

    def selects(self, rule: Rule, *, live: bool = False) -> bool:
        """Whether findings of this rule are wanted, of the source half or of the live one."""
        if rule.code == CRASH:
            return True
        chosen = self.extend_select if self.select is None else (*self.select, *self.extend_select)
        wanted = max((specificity(s, rule) for s in chosen), default=0)
        unwanted = max(
            (specificity(s, rule) for s in (*self.ignore, *self.extend_ignore)), default=0
        )
        if unwanted and unwanted >= wanted:
            return False
        if wanted or rule.code in ALWAYS_ON:
            return True
        return self.select is None and rule.is_default(live=live)

    def override(
        self,
        *,
        select: tuple[str, ...] | None = None,
        extend_select: tuple[str, ...] = (),
        ignore: tuple[str, ...] = (),
        extend_ignore: tuple[str, ...] = (),
    ) -> Settings:
        """These settings with a command line's selectors on top.

        As in Ruff, `select` there forgets the file's selectors altogether, and what is selected
        there is no longer ignored by the file.
        """
        if select is not None:
            return replace(
                self,
                select=select,
                extend_select=extend_select,
                ignore=ignore,
                extend_ignore=extend_ignore,
            )
        return replace(
            self,
            extend_select=(*self.extend_select, *extend_select),
            ignore=_without(self.ignore, extend_select),
            extend_ignore=(*_without(self.extend_ignore, extend_select), *ignore, *extend_ignore),
        )


def check_settings(settings: object) -> None:
    """Raise SettingsError for what the Python API cannot take for settings; None is welcome."""
    if settings is None or callable(getattr(settings, "selects", None)):
        return
    words = 'write bnlint.Settings(ignore=["BNL101"])'
    raise SettingsError(f"settings: must be a bnlint.Settings, not {settings!r}: {words}")


def specificity(selector: str, rule: Rule) -> int:
    """How precisely a selector names a rule; 0 when it does not."""
    wanted = selector.upper()
    if wanted == "ALL":
        return 1
    if wanted in (rule.code, rule.name.upper()):
        return 100
    is_family = _FAMILY.fullmatch(wanted) is not None
    return 1 + len(wanted) if is_family and rule.code.startswith(wanted) else 0


def _without(ignored: tuple[str, ...], chosen: tuple[str, ...]) -> tuple[str, ...]:
    covers = tuple("" if c.upper() == "ALL" else c.upper() for c in chosen)
    return tuple(i for i in ignored if not (covers and i.upper().startswith(covers)))


def check_selectors(selectors: Iterable[str], where: str) -> tuple[str, ...]:
    """The selectors as given; raises SettingsError for one that names no rule."""
    from bnlint.rules import all_rules

    kept = tuple(selectors)
    for selector in kept:
        if selector.upper() == "ALL":
            continue
        if not any(specificity(selector, rule) for rule in all_rules()):
            raise SettingsError(
                f"{where}: unknown rule {selector!r}{did_you_mean_rule(selector)}: use "
                "a code such as BNL101, the beginning of codes such as BNL1, a rule's name, or ALL "
                "(`bnlint rule` lists the rules)"
            )
    return kept


def check_patterns(patterns: Iterable[str], where: str) -> tuple[str, ...]:
    """The patterns as given; raises SettingsError for one that can mean no file."""
    kept = tuple(patterns)
    for pattern in kept:
        plain = _ESCAPED.sub("", pattern)
        ranges = (r for match in _BRACKET.finditer(plain) for r in _RANGE.finditer(match[1]))
        if "[" in _BRACKET.sub("", plain):
            problem = "a bracket is not closed"
        elif (turned := next((r for r in ranges if r[1] > r[2]), None)) is not None:
            problem = f"the range {turned[0]} is the wrong way round"
        elif plain.rstrip("/").endswith("\\"):
            problem = "the last backslash escapes nothing"
        elif plain.strip() == "!":
            problem = "nothing is taken back"
        else:
            continue
        raise SettingsError(f"{where}: {pattern!r} is no pattern: {problem}")
    return kept


def load_settings(
    start: Path, config: Path | None = None, *, isolated: bool = False, root: Path | None = None
) -> Settings:
    """The settings for a run over files at or below `start`.

    Reads `config` when given, else the nearest bnlint.toml or pyproject.toml with a [tool.bnlint]
    table; built-in settings when there is none or `isolated` is set. root: stands in place of what
    a file says of it. Raises SettingsError.
    """
    if isolated:
        return Settings(root=root)
    if config is not None:
        table = _read_table(config)
        return _with_root(parse_settings(table or {}, config), config, root)
    for folder in (start, *start.parents):
        for file in (folder / "bnlint.toml", folder / "pyproject.toml"):
            if file.is_file() and (table := _read_table(file)) is not None:
                return _with_root(parse_settings(table, file), file, root)
    return Settings(root=root)


def _with_root(settings: Settings, file: Path, given: Path | None) -> Settings:
    """The settings of a file, whose root is a folder, with a given root in its place."""
    if given is not None:
        return replace(settings, root=given)
    if settings.root is None or settings.root.is_dir():
        return settings
    where = f"{file}: tool.bnlint.root: no such folder: {settings.root}"
    raise SettingsError(f"{where}: name the folder that holds the project, relative to this file")


def _read_table(file: Path) -> Mapping[str, Any] | None:
    import tomllib

    try:
        with file.open("rb") as stream:
            document = tomllib.load(stream)
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: is not valid TOML: {error}") from None
    if file.name != "pyproject.toml" and "tool" not in document:
        return document
    tool = document.get("tool", {})
    table = tool.get("bnlint") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise SettingsError(f"{file}: tool.bnlint must be a table")
    return table


def parse_settings(table: Mapping[str, Any], file: Path) -> Settings:
    """Settings from a [tool.bnlint] table; raises SettingsError naming the file and the key."""
    values: dict[str, Any] = {"base": file.parent.absolute(), "source": file.absolute()}
    for key, value in table.items():
        where = f"{file}: tool.bnlint.{key}"
        if key not in KEYS:
            said = did_you_mean(key, KEYS) or f": known are {', '.join(KEYS)}"
            raise SettingsError(f"{where}: unknown key{said}")
        values[key.replace("-", "_")] = _convert(key, value, where, file.parent)
    return Settings(**values)


def _convert(key: str, value: object, where: str, folder: Path) -> object:
    match key:
        case "select" | "extend-select" | "ignore" | "extend-ignore":
            return check_selectors(_strings(value, where), where)
        case "exclude" | "extend-exclude":
            return check_patterns(_strings(value, where), where)
        case "extra-batchnorm" | "extra-activations":
            return _names(value, where)
        case "evaluating-factories" | "training-functions":
            return _names(value, where)
        case "rules":
            return _options(value, where)
        case "force-exclude" | "prefilter":
            return _expect(bool, value, where, "true or false")
        case "per-file-ignores":
            table = _expect(dict, value, where, "a table of patterns and lists of rules")
            check_patterns(table, where)
            rows = ((p, _strings(codes, f"{where}.{p}")) for p, codes in table.items())
            return tuple((p, check_selectors(codes, f"{where}.{p}")) for p, codes in rows)
        case "root" | "baseline" | "cache-dir":
            return (folder / _expect(str, value, where, "a string")).absolute()
        case "jobs":
            jobs = _expect(int, value, where, "a whole number, 0 or more")
            if jobs < 0 or isinstance(value, bool):
                raise SettingsError(f"{where}: must be a whole number, 0 or more")
            return jobs
        case "output-format":
            return _one_of(value, OUTPUT_FORMATS, where)
        case _:
            return Severity.parse(_one_of(value, LEVELS, where))


def _options(value: object, where: str) -> dict[str, dict[str, int]]:
    """The tables of single rules, by code; a rule may be named by its code or its name."""
    from bnlint.rules import find_rule

    found: dict[str, dict[str, int]] = {}
    table = _expect(dict, value, where, "a table of rules")
    for name, options in table.items():
        here = f"{where}.{name}"
        rule = find_rule(name)
        if rule is None:
            guess = did_you_mean_rule(name)
            raise SettingsError(f"{here}: unknown rule{guess} (`bnlint rule` lists the rules)")
        known = {option.name: option for option in rule.options}
        for key, number in _expect(dict, options, here, "a table of options").items():
            if key not in known:
                has = f"it has {', '.join(known)}" if known else "it has none"
                guess = did_you_mean(key, known)
                raise SettingsError(f"{here}.{key}: unknown option of {rule.code}{guess}: {has}")
            least = known[key].minimum
            if not isinstance(number, int) or isinstance(number, bool) or number < least:
                words = f"must be a whole number, {least} or more, not {number!r}"
                raise SettingsError(f"{here}.{key}: {words}")
            found.setdefault(rule.code, {})[key] = number
    return found


def _names(value: object, where: str) -> tuple[str, ...]:
    names = _strings(value, where)
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            words = "must be names such as FastNorm or package.layers.FastNorm"
            raise SettingsError(f"{where}: {words}, not {name!r}")
    return names


def _expect(kind: type[_T], value: object, where: str, words: str) -> _T:
    if not isinstance(value, kind):
        raise SettingsError(f"{where}: must be {words}, not {value!r}")
    return value


def _strings(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise SettingsError(f"{where}: must be a list of strings, not {value!r}")
    return tuple(value)


def _one_of(value: object, allowed: tuple[str, ...], where: str) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise SettingsError(f"{where}: must be one of {', '.join(allowed)}, not {value!r}")
    return value


KEYS: Final = tuple(
    sorted(n.replace("_", "-") for n in Settings.__struct_fields__ if n not in _UNWRITTEN)
)
"""The keys of the table in a configuration file."""
