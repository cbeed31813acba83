"""Records: what frozen dataclasses are for, where very many are made or none at all.

Python writes and compiles the methods of each dataclass while it is imported, which takes longer
than all else that an import does; those of a Struct are there already.
"""

from dataclasses import Field, fields, make_dataclass
from functools import cache
from typing import Any, ClassVar

from msgspec import Struct, field
from msgspec.structs import force_setattr as set_once
from msgspec.structs import replace

__all__ = ["Record", "Struct", "field", "replace", "set_once"]


class _Fields:
    """The fields of a record as the module `dataclasses` knows them, made when it asks."""

    def __get__(self, _: object, cls: type[Struct]) -> dict[str, Field[Any]]:
        return _fields_of(cls)


@cache
def _fields_of(cls: type[Struct]) -> dict[str, Field[Any]]:
    known = fields(make_dataclass(cls.__name__, cls.__struct_fields__))
    return {each.name: each for each in known}


class Record(Struct, frozen=True):
    """A record that others may meet: `dataclasses.replace`, `fields` and `asdict` take it, too."""

    __dataclass_fields__: ClassVar[_Fields] = _Fields()
