"""What can go wrong before anything is measured."""

from __future__ import annotations


class CheckError(ValueError):
    """The check cannot be done; the message is one line that says what to do."""


class FindingsError(AssertionError):
    """A report has findings at or above the level that the caller demanded to be clean."""
