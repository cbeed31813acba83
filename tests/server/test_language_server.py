"""The language server as an editor meets it: a real client, over the pipes of a process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pygls")

from lsprotocol import types
from pygls.lsp.client import LanguageClient

ROOT = Path(__file__).parents[2]
MODELS = """\
import torch.nn as nn


def build():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten())
"""
WITH_NORM = MODELS.replace("nn.ReLU()", "nn.BatchNorm2d(8), nn.ReLU()")
EVALUATE = """\
import torch
from models import build

net = build()
net.load_state_dict(torch.load("net.pt"))
with torch.no_grad():
    for x, y in torch.load("data.pt"):
        print("\U0001f600", (net(x).argmax(1) == y).float().mean())
"""
MOMENTUM = "import torch.nn as nn\n\nbn = '\U0001f600', nn.BatchNorm2d(8, momentum=0.99)\n"
COMMENT = "# bnlint: ignore[BNL401] TODO: say why this is fine"
UNUSED = "x = 1  # bnlint: ignore[BNL401] old\n"
WAIT = 60


class Editor:
    """A client that keeps the diagnostics it gets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = LanguageClient("editor", "1")
        self.shown: dict[str, list[types.Diagnostic]] = {}
        self.messages: list[str] = []
        self._news = asyncio.Event()
        self._versions: dict[str, int] = {}

        @self.client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def published(params: types.PublishDiagnosticsParams) -> None:
            self.shown[name_in(params.uri)] = list(params.diagnostics)
            self._news.set()

        @self.client.feature(types.WINDOW_SHOW_MESSAGE)
        def told(params: types.ShowMessageParams) -> None:
            self.messages.append(params.message)
            self._news.set()

    async def __aenter__(self) -> Editor:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        arguments = ("-m", "bnlint", "server")
        await self.client.start_io(sys.executable, *arguments, env=environment)
        cells = types.NotebookDocumentSyncClientCapabilities()
        capabilities = types.ClientCapabilities(
            notebook_document=types.NotebookDocumentClientCapabilities(cells)
        )
        self.server = await self.client.initialize_async(
            types.InitializeParams(capabilities, root_uri=self.folder.as_uri())
        )
        self.client.initialized(types.InitializedParams())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.shutdown_async(None)
        self.client.exit(None)
        await self.client.stop()

    def uri(self, name: str) -> str:
        return (self.folder / name).as_uri()

    def open(self, name: str, text: str) -> None:
        item = types.TextDocumentItem(self.uri(name), "python", 1, text)
        self._versions[name] = 1
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))

    def open_notebook(self, name: str, *cells: tuple[str, str]) -> None:
        """Open a notebook cell by cell: pairs of language and text."""
        items = [
            types.TextDocumentItem(cell_uri(self.uri(name), index), language, 1, text)
            for index, (language, text) in enumerate(cells)
        ]
        kinds = {"markdown": types.NotebookCellKind.Markup}
        of_cell = [
            types.NotebookCell(kinds.get(i.language_id, types.NotebookCellKind.Code), i.uri)
            for i in items
        ]
        notebook = types.NotebookDocument(self.uri(name), "jupyter-notebook", 1, of_cell)
        params = types.DidOpenNotebookDocumentParams(notebook, items)
        self.client.notebook_document_did_open(params)

    def change_cell(self, name: str, index: int, text: str) -> None:
        document = types.VersionedTextDocumentIdentifier(2, cell_uri(self.uri(name), index))
        whole = types.TextDocumentContentChangeWholeDocument(text)
        content = types.NotebookDocumentCellContentChanges(document, [whole])
        changes = types.NotebookDocumentCellChanges(text_content=[content])
        self.client.notebook_document_did_change(
            types.DidChangeNotebookDocumentParams(
                types.VersionedNotebookDocumentIdentifier(2, self.uri(name)),
                types.NotebookDocumentChangeEvent(cells=changes),
            )
        )

    def close_notebook(self, name: str, cells: int) -> None:
        documents = [
            types.TextDocumentIdentifier(cell_uri(self.uri(name), index)) for index in range(cells)
        ]
        notebook = types.NotebookDocumentIdentifier(self.uri(name))
        params = types.DidCloseNotebookDocumentParams(notebook, documents)
        self.client.notebook_document_did_close(params)

    def change(self, name: str, text: str) -> None:
        self._versions[name] += 1
        document = types.VersionedTextDocumentIdentifier(self._versions[name], self.uri(name))
        whole = types.TextDocumentContentChangeWholeDocument(text)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, [whole]))

    def close(self, name: str) -> None:
        document = types.TextDocumentIdentifier(self.uri(name))
        self.client.text_document_did_close(types.DidCloseTextDocumentParams(document))

    def save(self, name: str) -> None:
        document = types.TextDocumentIdentifier(self.uri(name))
        self.client.text_document_did_save(types.DidSaveTextDocumentParams(document))

    def changed_on_disk(self, name: str) -> None:
        event = types.FileEvent(self.uri(name), types.FileChangeType.Changed)
        self.client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([event]))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for news that make the condition hold."""

        async def wait() -> None:
            while not holds():
                self._news.clear()
                await self._news.wait()

        try:
            await asyncio.wait_for(wait(), WAIT)
        except TimeoutError:
            raise AssertionError(f"not so: {self.shown} {self.messages}") from None

    async def until_codes(self, **wanted: list[str]) -> None:
        await self.until(lambda: all(self.codes(f"{n}.py") == c for n, c in wanted.items()))

    def codes(self, name: str) -> list[str] | None:
        found = self.shown.get(name)
        return None if found is None else [str(diagnostic.code) for diagnostic in found]

    async def actions(
        self, name: str, *only: str, uri: str | None = None
    ) -> list[types.CodeAction]:
        everything = types.Range(types.Position(0, 0), types.Position(1000, 0))
        found = await self.client.text_document_code_action_async(
            types.CodeActionParams(
                types.TextDocumentIdentifier(uri or self.uri(name)),
                everything,
                types.CodeActionContext([], list(only) or None),
            )
        )
        return [action for action in found or [] if isinstance(action, types.CodeAction)]

    async def hover(self, name: str, line: int, character: int) -> str:
        found = await self.client.text_document_hover_async(
            types.HoverParams(
                types.TextDocumentIdentifier(self.uri(name)), types.Position(line, character)
            )
        )
        return "" if found is None else found.contents.value  # type: ignore[union-attr]


def cell_uri(notebook: str, index: int) -> str:
    return notebook.replace("file:", "vscode-notebook-cell:") + f"#{index}"


def name_in(uri: str) -> str:
    """The file's name and, of a notebook's cell, its fragment."""
    return uri.rpartition("/")[2]


def applied(text: str, action: types.CodeAction) -> str:
    """The text with an action's edits, whose columns are in UTF-16 units."""
    assert action.edit is not None and action.edit.changes is not None
    (edits,) = action.edit.changes.values()
    lines = [line.encode("utf-16-le") for line in text.splitlines(keepends=True)] + [b""]
    for edit in sorted(edits, key=lambda e: (e.range.start.line, -e.range.start.character)):
        start, end = edit.range.start, edit.range.end
        assert start.line == end.line or end.character == 0
        tail = lines[end.line][2 * end.character :] if start.line == end.line else b""
        line = lines[start.line]
        lines[start.line] = line[: 2 * start.character] + edit.new_text.encode("utf-16-le") + tail
    return b"".join(lines).decode("utf-16-le")


def session(folder: Path, scenario: Callable[[Editor], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Editor(folder) as editor:
            await scenario(editor)

    asyncio.run(run())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files: dict[str, Any] = {
        "pyproject.toml": "[tool.bnlint]\n", "models.py": MODELS, "evaluate.py": EVALUATE,
        "bn.py": MOMENTUM,
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_change_in_one_file_refreshes_the_others(folder: Path) -> None:
    async def scenario(editor: Editor) -> None:
        editor.open("evaluate.py", EVALUATE)
        await editor.until_codes(evaluate=[])
        editor.open("models.py", MODELS)
        await editor.until_codes(evaluate=[], models=[])
        editor.change("models.py", WITH_NORM)
        await editor.until_codes(evaluate=["BNL101"], models=[])
        (diagnostic,) = editor.shown["evaluate.py"]
        assert diagnostic.severity is types.DiagnosticSeverity.Error
        assert diagnostic.source == "bnlint"
        assert diagnostic.code_description is not None
        assert diagnostic.code_description.href.endswith("/BNL101/")
        line = EVALUATE.splitlines()[7].encode("utf-16-le")
        start, end = diagnostic.range.start, diagnostic.range.end
        assert start.line == 7
        assert line[2 * start.character : 2 * end.character].decode("utf-16-le") == "net(x)"
        related = {
            (Path(r.location.uri).name, r.location.range.start.line)
            for r in diagnostic.related_information or []
        }
        assert ("models.py", 4) in related
        editor.change("evaluate.py", EVALUATE.replace("with torch", "net.eval()\nwith torch"))
        await editor.until_codes(evaluate=[])

    session(folder, scenario)


def test_what_an_editor_offers_to_do(folder: Path) -> None:
    async def scenario(editor: Editor) -> None:
        editor.open("bn.py", MOMENTUM + UNUSED)
        await editor.until_codes(bn=["BNL401", "BNL902"])
        unused = editor.shown["bn.py"][1]
        assert list(unused.tags or []) == [types.DiagnosticTag.Unnecessary]
        by_title = {action.title: action for action in await editor.actions("bn.py")}
        assert set(by_title) == {
            "BNL401: write momentum=0.01 (unsafe)",
            "BNL401: excuse this with a comment",
            "BNL902: remove the comment",
            "bnlint: make all safe fixes",
        }
        fixed = applied(MOMENTUM + UNUSED, by_title["BNL401: write momentum=0.01 (unsafe)"])
        assert fixed == MOMENTUM.replace("0.99", "0.01") + UNUSED
        excused = applied(MOMENTUM + UNUSED, by_title["BNL401: excuse this with a comment"])
        assert "momentum=0.99)  # bnlint: ignore[BNL401] TODO: say why this is fine" in excused
        (everything,) = await editor.actions("bn.py", "source.fixAll")
        assert applied(MOMENTUM + UNUSED, everything) == MOMENTUM + "x = 1\n"
        editor.change("bn.py", excused.replace(UNUSED, ""))
        await editor.until_codes(bn=[])
        assert await editor.actions("bn.py") == []

    session(folder, scenario)


WRONG_CELL = "import torch.nn as nn\nbn = '\U0001f600', nn.BatchNorm2d(8, momentum=0.99)\n"


def test_a_notebook_that_is_open_cell_by_cell(folder: Path) -> None:
    async def scenario(editor: Editor) -> None:
        text = ("markdown", "momentum = 0.99 is Keras's")
        query = ("sql", "select nn.BatchNorm2d(8, momentum=0.99)")
        editor.open_notebook("nb.ipynb", text, ("python", WRONG_CELL), query, ("python", UNUSED))
        await editor.until(lambda: "nb.ipynb#3" in editor.shown)
        codes = [editor.codes(f"nb.ipynb#{index}") for index in range(4)]
        assert codes == [[], ["BNL401"], [], ["BNL902"]]
        (diagnostic,) = editor.shown["nb.ipynb#1"]
        line = WRONG_CELL.splitlines()[1].encode("utf-16-le")
        start, end = diagnostic.range.start, diagnostic.range.end
        assert start.line == 1
        assert (
            line[2 * start.character : 2 * end.character].decode("utf-16-le").startswith("nn.Batch")
        )
        cell = cell_uri(editor.uri("nb.ipynb"), 1)
        by_title = {a.title: a for a in await editor.actions("nb.ipynb", uri=cell)}
        fix = by_title["BNL401: write momentum=0.01 (unsafe)"]
        assert fix.edit is not None and list(fix.edit.changes or {}) == [cell]
        assert applied(WRONG_CELL, fix) == WRONG_CELL.replace("0.99", "0.01")
        excused = applied(WRONG_CELL, by_title["BNL401: excuse this with a comment"])
        assert excused.splitlines()[1].endswith(
            "# bnlint: ignore[BNL401] TODO: say why this is fine"
        )
        (everything,) = await editor.actions("nb.ipynb", "source.fixAll", uri=cell)
        assert applied(UNUSED, everything) == "x = 1\n"
        editor.change_cell("nb.ipynb", 1, WRONG_CELL.replace("0.99", "0.01"))
        await editor.until(lambda: editor.codes("nb.ipynb#1") == [])
        editor.close_notebook("nb.ipynb", 4)
        await editor.until(lambda: editor.codes("nb.ipynb#3") == [])

    session(folder, scenario)


def test_a_notebook_that_is_open_as_text(folder: Path) -> None:
    cells = [{"cell_type": "code", "source": WRONG_CELL.splitlines(keepends=True)}]
    text = json.dumps({"cells": cells}, indent=1)

    async def scenario(editor: Editor) -> None:
        editor.open("nb.ipynb", text)
        await editor.until(lambda: editor.codes("nb.ipynb") == ["BNL401"])
        by_title = {action.title: action for action in await editor.actions("nb.ipynb")}
        fixed = applied(text, by_title["BNL401: write momentum=0.01 (unsafe)"])
        assert fixed == text.replace("0.99", "0.01")
        excused = applied(text, by_title["BNL401: excuse this with a comment"])
        last = "".join(json.loads(excused)["cells"][0]["source"]).splitlines()[1]
        assert last.endswith(COMMENT)

    session(folder, scenario)


def test_hovering_shows_the_page_of_the_rule(folder: Path) -> None:
    async def scenario(editor: Editor) -> None:
        editor.open("bn.py", MOMENTUM + "# see BNL101\n")
        await editor.until_codes(bn=["BNL401"])
        column = editor.shown["bn.py"][0].range.start.character
        assert (await editor.hover("bn.py", 2, column + 3)).startswith("# BNL401 keras-momentum")
        assert (await editor.hover("bn.py", 3, 8)).startswith("# BNL101 ")
        assert await editor.hover("bn.py", 0, 0) == ""

    session(folder, scenario)


def test_files_that_change_on_the_disk_and_settings_count(folder: Path) -> None:
    async def scenario(editor: Editor) -> None:
        editor.open("evaluate.py", EVALUATE)
        await editor.until_codes(evaluate=[])
        (folder / "models.py").write_text(WITH_NORM)
        editor.changed_on_disk("models.py")
        await editor.until_codes(evaluate=["BNL101"])
        (folder / "pyproject.toml").write_text('[tool.bnlint]\nignore = ["BNL1"]\n')
        editor.changed_on_disk("pyproject.toml")
        await editor.until_codes(evaluate=[])
        (folder / "pyproject.toml").write_text("[tool.bnlint]\nselct = []\n")
        editor.changed_on_disk("pyproject.toml")
        await editor.until(lambda: any("did you mean select" in m for m in editor.messages))

    session(folder, scenario)


def test_a_closed_file_counts_as_it_is_on_the_disk(folder: Path) -> None:
    async def scenario(editor: Editor) -> None:
        editor.open("evaluate.py", EVALUATE)
        editor.open("models.py", WITH_NORM)
        await editor.until_codes(evaluate=["BNL101"], models=[])
        editor.close("models.py")
        await editor.until_codes(evaluate=[])
        editor.close("evaluate.py")
        editor.open("bn.py", MOMENTUM)
        await editor.until_codes(bn=["BNL401"], evaluate=[])

    session(folder, scenario)


def test_code_that_is_being_typed(folder: Path) -> None:
    async def scenario(editor: Editor) -> None:
        editor.open("bn.py", MOMENTUM)
        await editor.until_codes(bn=["BNL401"])
        editor.change("bn.py", MOMENTUM + "def f(")
        await editor.until_codes(bn=["BNL901"])
        editor.change("bn.py", MOMENTUM + "def f(): ...\n")
        editor.save("bn.py")
        await editor.until_codes(bn=["BNL401"])
        editor.open("new.py", MOMENTUM)
        await editor.until_codes(new=["BNL401"])

    session(folder, scenario)


def test_the_server_says_what_it_needs(tmp_path: Path) -> None:
    block = "import sys; sys.modules['pygls'] = None; from bnlint.cli import main; main(['server'])"
    done = subprocess.run(
        [sys.executable, "-c", block],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == 'Error: the server needs pygls: pip install "bnlint[lsp]"\n'
