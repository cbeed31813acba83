"""Definitions that generated classes use, as texts."""

from __future__ import annotations

from parts import blocks, conventions, designs, frameworks, functions, networks, plain

_FILES = (plain, functions, blocks, networks, designs, frameworks, conventions)
ALL = tuple(part for file in _FILES for part in file.PARTS)
USES = tuple(use for part in ALL for use in part.uses)
