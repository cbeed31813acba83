"""Records: what frozen dataclasses are for, where very many are made or none at all.

Python writes and compiles the methods of each dataclass while it is imported, which takes longer
than all else that an import does; those of a Struct are there already.
"""

from msgspec import Struct, field
from msgspec.structs import force_setattr as set_once
from msgspec.structs import replace

__all__ = ["Struct", "field", "replace", "set_once"]
