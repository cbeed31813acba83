"""Settings as TOML, and the JSON Schema of the table that holds them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bnlint.finding import Severity
from bnlint.rules import all_rules
from bnlint.settings import KEYS, OUTPUT_FORMATS, Settings

_STRINGS: Final = {"type": "array", "items": {"type": "string"}}
_RULES: Final = {"type": "array", "items": {"$ref": "#/definitions/selector"}}
_NAMES: Final = {
    "type": "array",
    "items": {"type": "string", "pattern": r"^[^\W\d]\w*(\.[^\W\d]\w*)*$"},
}
_FORMS: Final[Mapping[str, tuple[Mapping[str, Any], str]]] = {
    "select": (_RULES, "Only these rules."),
    "extend-select": (_RULES, "These rules as well, such as opt-in ones."),
    "ignore": (_RULES, "Not these rules."),
    "extend-ignore": (_RULES, "Not these rules either."),
    "exclude": (_STRINGS, "Patterns, as in .gitignore, in place of the usual ones."),
    "extend-exclude": (_STRINGS, "Patterns beside those of exclude."),
    "force-exclude": ({"type": "boolean"}, "Whether patterns also hold for files given by name."),
    "per-file-ignores": (
        {"type": "object", "additionalProperties": _RULES},
        "Rules that are ignored in the files that a pattern means.",
    ),
    "root": ({"type": "string"}, "Root of the project, relative to this file."),
    "jobs": ({"type": "integer", "minimum": 0}, "Processes; 0 chooses."),
    "cache-dir": ({"type": "string"}, "Folder of the cache, relative to this file."),
    "prefilter": ({"type": "boolean"}, "Whether files that cannot matter are left unread."),
    "fail-level": (
        {"enum": [level.label for level in Severity]},
        "The severity from which on the exit code is 1.",
    ),
    "output-format": ({"enum": list(OUTPUT_FORMATS)}, "How findings are printed."),
    "baseline": ({"type": "string"}, "File of findings that are not shown, relative to this one."),
    "extra-batchnorm": (_NAMES, "Classes that stand for a BatchNorm."),
    "extra-activations": (_NAMES, "Classes and functions that stand for an activation."),
    "evaluating-factories": (_NAMES, "Functions that return a model in evaluation mode."),
    "training-functions": (_NAMES, "Functions that leave the models they get in training mode."),
    "rules": ({"$ref": "#/definitions/rules"}, "Options of single rules."),
}


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 7) of [tool.bnlint], and of bnlint.toml."""
    words = [word for rule in all_rules() for word in (rule.code, rule.name)]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://bnlint.readthedocs.io/schema.json",
        "title": "Settings of bnlint",
        "type": "object",
        "additionalProperties": False,
        "properties": {key: {**_FORMS[key][0], "description": _FORMS[key][1]} for key in KEYS},
        "definitions": {
            "selector": {
                "description": "A rule's code or name, the beginning of codes, or ALL.",
                "anyOf": [
                    {"enum": [*words, "ALL"]},
                    {"type": "string", "pattern": f"^(?:{'|'.join(_families())})$"},
                ],
            },
            "rules": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    word: _options(rule.code)
                    for rule in all_rules()
                    for word in (rule.code, rule.name)
                },
            },
        },
    }


def _families() -> list[str]:
    """The beginnings of codes that mean more than one code can be."""
    codes = [rule.code for rule in all_rules()]
    return sorted({code[:length] for code in codes for length in range(3, len(code))})


def _options(code: str) -> dict[str, Any]:
    options = next(rule.options for rule in all_rules() if rule.code == code)
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            option.name: {
                "type": "integer",
                "minimum": option.minimum,
                "default": option.default,
                "description": option.text,
            }
            for option in options
        },
    }


def schema_text() -> str:
    """The content of bnlint/settings.schema.json."""
    return json.dumps(schema(), indent=2) + "\n"


def to_toml(settings: Settings) -> str:
    """The settings as a [tool.bnlint] table that says the same; what is not set is a comment."""
    origin = "built-in settings" if settings.source is None else f"read from {settings.source}"
    lines = [f"# {origin}, with the options of the command line", "[tool.bnlint]"]
    tables: list[str] = []
    for key in KEYS:
        value = getattr(settings, key.replace("-", "_"))
        match key:
            case "per-file-ignores":
                rows = [f"{_quoted(pattern)} = {_value(codes)}" for pattern, codes in value]
                tables += ["", "[tool.bnlint.per-file-ignores]", *rows] if rows else []
            case "rules":
                for code, options in sorted(value.items()):
                    rows = [f"{name} = {number}" for name, number in sorted(options.items())]
                    tables += ["", f"[tool.bnlint.rules.{code}]", *rows]
            case _:
                lines.append(f"# {key}: not set" if value is None else f"{key} = {_value(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case Severity():
            return _quoted(value.label)
        case int():
            return str(value)
        case tuple():
            return f"[{', '.join(map(_value, value))}]"
        case Path():
            return _quoted(value.as_posix())
        case _:
            return _quoted(str(value))


def _quoted(text: str) -> str:
    """A basic string of TOML, whose escapes are those of JSON."""
    return json.dumps(text).replace("\x7f", "\\u007f")
