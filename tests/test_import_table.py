"""What may be imported where: the layers stay apart, and start-up stays light."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bnlint"
MODULES = sorted(PACKAGE.rglob("*.py"))
SHARED = {
    "baseline",
    "comments",
    "finding",
    "fingerprint",
    "functional",
    "graph",
    "overrides",
    "paths",
    "printable",
    "records",
    "settings",
    "settings_text",
    "solver",
    "spelling",
    "suppress",
    "torchnames",
    "trace",
}
EVERYWHERE = frozenset({"top", "inside"})
INSIDE = frozenset({"inside"})


def allowed(module: str) -> dict[str, frozenset[str]]:
    """What a module may import beyond the standard library: the name, and where in the file
    ("top": when it is imported; "inside": in the function that needs it)."""
    match module.split(".")[1:]:
        case [] | ["__main__"] | ["cli", *_]:
            ours = {"cli": EVERYWHERE, "rules": EVERYWHERE, **dict.fromkeys(SHARED, EVERYWHERE)}
            later = dict.fromkeys(
                ("source", "live", "output", "server", "testing", "lightning"), INSIDE
            )
            return {**ours, **later, "": EVERYWHERE, "click": EVERYWHERE, "rich": INSIDE}
        case ["source", *_]:
            ours = dict.fromkeys({*SHARED, "source", "rules"}, EVERYWHERE)
            outside = ("", "libcst", "msgspec", "pathspec")
            return {**ours, **dict.fromkeys(outside, EVERYWHERE)}
        case ["server", *_]:
            ours = dict.fromkeys({*SHARED, "source", "rules", "output", "server"}, EVERYWHERE)
            return {**ours, **dict.fromkeys(("", "pygls", "lsprotocol"), EVERYWHERE)}
        case ["rules", *_]:
            pictures = {"functional", "graph", "overrides", "records", "trace", "solver"}
            return dict.fromkeys({*pictures, "finding", "torchnames", "rules"}, EVERYWHERE)
        case ["live", *_]:
            ours = dict.fromkeys({*SHARED, "live", "rules", "output"}, EVERYWHERE)
            outside = {"": EVERYWHERE, "torch": EVERYWHERE, "numpy": EVERYWHERE}
            return {**ours, **outside, "rich": INSIDE, "matplotlib": INSIDE}
        case ["output", *_]:
            ours = dict.fromkeys({*SHARED, "output", "rules", ""}, EVERYWHERE)
            return {**ours, **dict.fromkeys(("rich", "jinja2", "matplotlib"), INSIDE)}
        case ["flake8"]:
            return {**dict.fromkeys(SHARED, EVERYWHERE), "": EVERYWHERE, "source": INSIDE}
        case ["testing"] | ["lightning"]:
            ours = {**dict.fromkeys(SHARED, EVERYWHERE), "": EVERYWHERE, "live": INSIDE}
            return {**ours, "lightning": INSIDE, "pytorch_lightning": INSIDE}
        case ["records"]:
            return {"msgspec": EVERYWHERE}
        case ["settings"] | ["settings_text"] | ["spelling"]:
            return dict.fromkeys({*SHARED, "rules"}, EVERYWHERE)
        case _:
            return dict.fromkeys(SHARED, EVERYWHERE)


def imports(tree: ast.Module, module: str) -> Iterator[tuple[str, str]]:
    """Every import of a module, with "top" or "inside"; those for type checkers do not count."""
    pending: list[tuple[ast.AST, str]] = [(tree, "top")]
    while pending:
        node, where = pending.pop()
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                pending += [(child, where) for child in node.orelse]
                continue
            case ast.Import():
                yield from ((alias.name, where) for alias in node.names)
            case ast.ImportFrom():
                assert node.level == 0, f"{module}: relative import"
                yield node.module or "", where
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                where = "inside"
        pending += [(child, where) for child in ast.iter_child_nodes(node)]


def violations(path: Path) -> list[str]:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    table = allowed(module)
    found = []
    for name, where in imports(ast.parse(path.read_text(encoding="utf-8")), module):
        top, _, rest = name.partition(".")
        if top in sys.stdlib_module_names:
            continue
        key = rest.partition(".")[0] if top == "bnlint" else top
        if where not in table.get(key, ()):
            found.append(f"{module} imports {name} ({where})")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_its_place_allows(path: Path) -> None:
    assert violations(path) == []


def test_the_table_is_about_the_whole_package() -> None:
    assert {path.parent.name for path in MODULES} >= {"cli", "live", "output", "rules", "source"}


def test_a_forbidden_import_is_seen(monkeypatch) -> None:
    texts = {"rules/x.py": "import torch", "source/x.py": "from bnlint.live import check"}
    for name, text in texts.items():
        monkeypatch.setattr(Path, "read_text", lambda self, text=text, **_: text)
        assert violations(PACKAGE / name)
