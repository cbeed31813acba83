"""Where the text of a definition calls the constructor of a BatchNorm, run or not."""

from __future__ import annotations

import re

from bnlint.finding import Place
from bnlint.source import ir
from bnlint.source.evaluate.functions import ir_name
from bnlint.source.values import External, ModuleScope, PendingImport
from bnlint.source.walk import walk
from bnlint.torchnames import is_batchnorm

_NAME = re.compile(r"(.*\.)?((Lazy)?BatchNorm[123]d|SyncBatchNorm)")


def constructor_calls(body: object, scope: ModuleScope) -> set[Place]:
    """The places of the calls of what is named like a BatchNorm, or imported under another name."""
    return {
        scope.facts.place(node.span)
        for node in walk(body)
        if isinstance(node, ir.Call) and _is_batchnorm(ir_name(node.function), scope)
    }


def may_hold_calls(words: frozenset[str], scope: ModuleScope) -> bool:
    """Whether code that mentions these words may hold such a call."""
    if any("BatchNorm" in word or word == "batch_norm" for word in words):
        return True
    imported = (scope.fields[word] for word in words & scope.fields.keys())
    return any(_may_be_batchnorm(value) for value in imported)


def _may_be_batchnorm(value: object) -> bool:
    if isinstance(value, External):
        return is_batchnorm(value.name)
    return isinstance(value, PendingImport)


def _is_batchnorm(name: str, scope: ModuleScope) -> bool:
    if _NAME.fullmatch(name):
        return True
    first, dot, rest = name.partition(".")
    value = scope.value(first)
    if not isinstance(value, External):
        return False
    qualified = f"{value.name}{dot}{rest}"
    return is_batchnorm(qualified) and ".functional." not in qualified
