"""The rule accuses what its examples say, and nothing else."""

from bnlint_example.ex101 import RULE

from bnlint.testing import assert_examples


def test_the_examples_hold() -> None:
    """Wrong ones are accused at their marks, right ones are not."""
    assert_examples(RULE)
