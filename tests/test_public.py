"""The public face: what `import bnlint` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bnlint

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # as if it were not installed
import bnlint
try:
    bnlint.{name}
except ImportError as error:
    print(error)
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["check", "watch"])
def test_without_torch_the_remedy_is_named(name: str) -> None:
    found = run(WITHOUT_TORCH.format(name=name))
    assert found == f'bnlint.{name} needs torch: pip install "bnlint[torch]"'


def test_warnings_can_be_filtered_without_torch() -> None:
    code = "import sys, bnlint; bnlint.BatchNormWarning; assert 'torch' not in sys.modules"
    assert run(code) == ""


def test_importing_bnlint_imports_nothing_heavy() -> None:
    code = "import sys, bnlint; print({'torch', 'libcst', 'click', 'rich'} & set(sys.modules))"
    assert run(code) == "set()"


@pytest.mark.parametrize("name", bnlint.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert name in dir(bnlint)
    assert getattr(bnlint, name) is not None


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lint'"):
        bnlint.lint  # noqa: B018
