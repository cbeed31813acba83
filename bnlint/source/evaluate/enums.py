"""Enumerations of the project: their members, by name, by value and in order."""

from __future__ import annotations

from bnlint.source import ir
from bnlint.source.values import (
    ANYTHING,
    ClassObject,
    External,
    Instance,
    Known,
    Value,
)

_ENUMS = frozenset({"enum.Enum", "enum.Flag"})
_MIXED = frozenset({"enum.IntEnum", "enum.StrEnum", "enum.IntFlag"})


def is_enum(cls: ClassObject) -> bool:
    """Whether a class is an enumeration whose members are objects of their own, not numbers or
    strings at the same time."""
    bases = list(cls.linearization())
    outside = {base.name for base in bases if isinstance(base, External)}
    mixed = any(name.startswith("builtins.") and name != "builtins.object" for name in outside)
    return bool(outside & _ENUMS) and not (outside & _MIXED or mixed)


def member_names(cls: ClassObject) -> list[str]:
    """The names that the class body assigns, in order."""
    return [
        target.id
        for statement in cls.definition.body
        if isinstance(statement, ir.Assign)
        for target in statement.targets
        if isinstance(target, ir.Name) and not target.id.startswith("_")
    ]


def as_member(cls: ClassObject, name: str, value: Value) -> Instance:
    """The member that stands for an assignment in the class body."""
    made = Instance(cls, None)
    made.fields.update({"name": Known(name), "value": value})
    return made


def members_of(cls: ClassObject) -> tuple[Value, ...]:
    """All members in order."""
    return tuple(cls.value(name) or ANYTHING for name in member_names(cls))


def member_with(cls: ClassObject, field: str, wanted: Value | None) -> Value:
    """`Kind("batch")` (field "value") and `Kind["BATCH"]` (field "name")."""
    if not isinstance(wanted, Known):
        return wanted if wanted in members_of(cls) and wanted is not None else ANYTHING
    found = (m for m in members_of(cls) if isinstance(m, Instance) and m.value(field) == wanted)
    return next(found, ANYTHING)
