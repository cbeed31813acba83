"""The verdicts of all rules as bytes."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from bnlint.source.cache.wire import Found, packed, unpacked
from bnlint.source.verdicts import Verdicts
from bnlint.suppress import FileSuppressions


class _Kept(Struct, frozen=True, array_like=True):
    by_rule: dict[str, tuple[Found, ...]]
    problems: dict[str, Found]
    suppressions: dict[str, FileSuppressions]


def packed_verdicts(verdicts: Verdicts) -> bytes:
    """Verdicts without crashes; raises what msgspec raises for what has no form."""
    kept = _Kept(
        {code: packed(found) for code, found in verdicts.by_rule.items()},
        {path: packed([found])[0] for path, found in verdicts.problems.items()},
        dict(verdicts.suppressions),
    )
    return msgspec.msgpack.encode(kept)


def unpacked_verdicts(data: bytes | msgspec.Raw) -> Verdicts:
    """The verdicts in these bytes; raises msgspec.ValidationError or LookupError."""
    kept = msgspec.msgpack.decode(data, type=_Kept)
    return Verdicts(
        {code: unpacked(found) for code, found in kept.by_rule.items()},
        {path: unpacked([found])[0] for path, found in kept.problems.items()},
        suppressions=kept.suppressions,
    )
