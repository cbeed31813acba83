"""Records are met by programs that know dataclasses."""

import dataclasses
import subprocess
import sys

from bnlint import Settings
from bnlint.finding import Evidence, Finding, Place, Severity

PLACE = Place("net.py", 3)
FINDING = Finding("BNL101", "x", Severity.ERROR, "no", PLACE, (Evidence(PLACE, "here"),))


def test_the_module_dataclasses_takes_them() -> None:
    assert dataclasses.replace(FINDING, message="yes").message == "yes"
    assert dataclasses.replace(Settings(), select=("BNL1",)).select == ("BNL1",)
    assert [field.name for field in dataclasses.fields(Place)][:2] == ["path", "line"]
    told = dataclasses.asdict(FINDING)
    assert told["place"]["line"] == 3
    assert told["evidence"][0]["message"] == "here"
    assert dataclasses.is_dataclass(FINDING)


def test_no_dataclass_is_made_where_little_is_to_be_done() -> None:
    made = (
        "import dataclasses, sys; real = dataclasses._process_class; names = []\n"
        "dataclasses._process_class = lambda c, *a, **k: names.append(c.__qualname__) or "
        "real(c, *a, **k)\n"
        "import bnlint.cli.lint, bnlint.source.cache.start; print(names)"
    )
    run = subprocess.run([sys.executable, "-c", made], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
