"""Which files do something when they are run."""

from __future__ import annotations

import re
from typing import Final

from bnlint.source import ir
from bnlint.source.facts import FileFacts
from bnlint.source.walk import ir_name

_TEST_FILE: Final = re.compile(r"(^|/)(test_[^/]*|[^/]*_test|conftest)\.py$")
_TEST_MODULE: Final = re.compile(r"(^|\.)tests?\.(.*\.)?(test_[^.]*|[^.]*_test|conftest)$")
_TEST_PACKAGES: Final = frozenset({"pytest", "unittest", "absl.testing"})


def is_script(facts: FileFacts) -> bool:
    """Whether running the file does something: a notebook, a `__main__` block, or top-level calls
    other than definitions, imports and assignments of constants."""
    return bool(facts.cells) or any(map(_acts, facts.body)) or _calls_its_own(facts.body)


def is_unit_test(facts: FileFacts) -> bool:
    """Whether a file belongs to a test suite: by its name and by what it imports."""
    is_named_so = _TEST_FILE.search(facts.path) is not None
    return _imports_test_package(facts) or (is_named_so and not is_script(facts))


def holds_test_networks(facts: FileFacts, module: str) -> bool:
    """Whether the networks of a file are surely there to be tested: nobody trains them.

    module: its name below the project's root ("net.tests.test_blocks").
    """
    return _TEST_MODULE.search(module) is not None or _imports_test_package(facts)


def _imports_test_package(facts: FileFacts) -> bool:
    imported: set[str] = set()
    for statement in facts.body:
        if isinstance(statement, ir.Import):
            imported |= {name for name, _ in statement.names}
        elif isinstance(statement, ir.ImportFrom):
            imported.add(statement.module)
    return bool(imported & _TEST_PACKAGES)


def _calls_its_own(body: ir.Body) -> bool:
    """Whether something that the file has built is called: `model = Net()`, then `y = model(x)`."""
    built: set[str] = set()
    for statement in body:
        match statement:
            case ir.Assign(_, ir.Call(ir.Name(name))) if name in built:
                return True
            case ir.Assign((ir.Name(name),), ir.Call()):
                built.add(name)
    return False


def _acts(statement: ir.Statement) -> bool:
    match statement:
        case ir.Evaluate(ir.Call(function)):
            return not ir_name(function).startswith(("sys.path", "warnings.", "logging."))
        case ir.Evaluate(ir.Attribute(_, "eval" | "train")):
            return True
        case ir.For() | ir.While() | ir.With():
            return True
        case ir.If(test, body, orelse):
            return _is_main(test) or any(map(_acts, body)) or any(map(_acts, orelse))
        case ir.Try(body):
            return any(map(_acts, body))
        case ir.Assign(_, ir.Call(function)):
            name = ir_name(function).rpartition(".")[2]
            return name.startswith("parse_args") or name in (
                "eval",
                "to",
                "cuda",
                "load",
                "forward",
            )
    return False


def _is_main(test: ir.Expression) -> bool:
    match test:
        case ir.Compare(ir.Name("__name__"), _):
            return True
        case ir.Compare(_, ((_, ir.Name("__name__")),)):
            return True
    return False
