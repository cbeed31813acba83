"""Programs that are right and look nearly wrong: neither the text nor the run is accused."""

from __future__ import annotations

from pathlib import Path

import pytest
from executing import execute
from generated_programs import scene
from judging import compare, read
from program_files import write_program
from right_programs import RIGHT, UNWATCHED

VARIANTS = 4


@pytest.mark.parametrize("name", RIGHT)
def test_nothing_is_said(name: str, tmp_path: Path) -> None:
    for seed in range(VARIANTS):
        program = scene(seed, RIGHT[name])
        folder = tmp_path / program.name
        write_program(program.texts, folder)
        seen, said = execute(folder, program.script), read(folder, program.texts)
        assert not seen.marks, f"{seen.messages}\n{program}"
        assert not said.marks, f"{said.messages}\n{program}"
        found = compare(program.name, seen, said)
        assert not found.wrong, f"{found.wrong}\n{program}"
        assert len(found.unknown) <= 0.05 * found.forwards, f"{found.unknown}\n{program}"


@pytest.mark.parametrize("name", UNWATCHED)
def test_nothing_is_said_of_what_nobody_watches(name: str, tmp_path: Path) -> None:
    for seed in range(VARIANTS):
        program = scene(seed, UNWATCHED[name])
        said = read(tmp_path, program.texts)
        assert not said.marks, f"{said.messages}\n{program}"
