"""Definitions that generated classes use, as texts."""

from __future__ import annotations

from parts import blocks, functions, networks, plain

ALL = (*plain.PARTS, *functions.PARTS, *blocks.PARTS, *networks.PARTS)
USES = tuple(use for part in ALL for use in part.uses)
