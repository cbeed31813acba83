"""What a mistyped word was probably meant to be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from string import ascii_letters
from typing import Final

_CODE: Final = re.compile(r"[A-Z]+\d+", re.IGNORECASE)


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like this one; None when none is."""
    from difflib import get_close_matches  # a run that goes well needs it not

    by_lower = {text.lower(): text for text in known}
    close = get_close_matches(word.lower(), by_lower, 1, 0.6)
    return by_lower[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question that names the known word which is most like this one; empty when none is."""
    guess = closest(word, known)
    return "" if guess is None else f" (did you mean {guess}?)"


def did_you_mean_rule(word: str) -> str:
    """The same for a rule: a code is like one of another number only by chance."""
    from bnlint.rules import all_rules

    rules = all_rules()
    if _CODE.fullmatch(word):
        return did_you_mean(word, [r.code for r in rules if _is_of_this_number(r.code, word)])
    return did_you_mean(word, [*(name for r in rules for name in (r.code, r.name)), "ALL"])


def _is_of_this_number(code: str, word: str) -> bool:
    same = code.lstrip(ascii_letters) == word.lstrip(ascii_letters)
    return same and len(code) == len(word)
