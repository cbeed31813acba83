"""`bnlint server`: the language server over standard input and output."""

from __future__ import annotations

import asyncio
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from lsprotocol import types
from pygls.lsp.server import LanguageServer

import bnlint
from bnlint.finding import Finding
from bnlint.output.page import rule_page
from bnlint.rules import find_rule
from bnlint.server.actions import FIX_ALL, Offers, is_kind, touch
from bnlint.server.convert import Converter
from bnlint.server.documents import Documents, is_same, notebook_text, path_of
from bnlint.server.session import Session
from bnlint.settings import SettingsError

PATIENCE: Final = 0.2
"""Seconds of silence after a change before the project is judged again."""

STACK: Final = 16 * 1024 * 1024
"""Bytes; the guard's limits are made for the 8 MiB of a main thread."""

_CODE: Final = re.compile(r"BNL\d{3}", re.IGNORECASE)
_NOTEBOOKS: Final = types.NotebookDocumentSyncOptions(
    [types.NotebookDocumentFilterWithNotebook("*")]
)
"""All cells of all notebooks: findings count Markdown cells, too."""


class Server(LanguageServer):
    """The protocol's side of a session."""

    def __init__(self) -> None:
        super().__init__("bnlint", bnlint.__version__, notebook_document_sync=_NOTEBOOKS)
        self.session = Session()
        self.found: dict[str, list[Finding]] = {}
        self._shown: set[str] = set()
        self._pending: asyncio.TimerHandle | None = None
        self._is_judging = False
        self._is_stale = False
        self._judge = _thread_with_room()

    def update(self, uri: str) -> None:
        """A document was opened or changed: judge again once the typing pauses."""
        path = path_of(uri)
        if path is not None:
            self._open(path, self.workspace.get_text_document(uri).source)

    def update_notebook(self, uri: str) -> None:
        """The same for a notebook of which each cell is a document."""
        path, notebook = path_of(uri), self.workspace.get_notebook_document(notebook_uri=uri)
        if path is not None and path.endswith(".ipynb") and notebook is not None:
            self._open(path, notebook_text(self.workspace, notebook))

    def closed(self, uri: str) -> None:
        """A file or a notebook was closed."""
        path = path_of(uri)
        if path is not None:
            self.session.close(path)
            self.schedule()

    def _open(self, path: str, text: str) -> None:
        try:
            self.session.open(path, text)
        except SettingsError as error:
            self.complain(str(error))
            return
        self.schedule()

    def complain(self, message: str) -> None:
        """Tell the user what cannot be done."""
        self.window_show_message(types.ShowMessageParams(types.MessageType.Error, message))

    def schedule(self) -> None:
        """Judge after a pause; a later change starts the pause anew."""
        if self._pending is not None:
            self._pending.cancel()
        self._pending = asyncio.get_running_loop().call_later(PATIENCE, self.publish)

    def publish(self) -> None:
        """Judge beside the typing; what changes meanwhile is judged afterwards."""
        self._pending = None
        if self._is_judging:
            self._is_stale = True
            return
        self._is_judging = True
        judged = asyncio.get_running_loop().run_in_executor(self._judge, self.session.findings)
        judged.add_done_callback(self._judged)

    def _judged(self, judged: asyncio.Future[dict[str, list[Finding]]]) -> None:
        """Send the diagnostics of every open file."""
        self._is_judging = False
        if self._is_stale:
            self._is_stale = False
            self.schedule()
        try:
            found = judged.result()
        except Exception as error:  # a baseline that is gone, or a mistake of ours
            self.complain(f"bnlint: {error}")
            return
        self.found = found
        sent = self._diagnostics()
        for uri in sorted(self._shown - sent.keys()):
            self._send(uri, [])
        for uri, diagnostics in sorted(sent.items()):
            self._send(uri, diagnostics)
        self._shown = set(sent)

    def _diagnostics(self) -> dict[str, list[types.Diagnostic]]:
        """The diagnostics of each document of each open file, also of those that have none."""
        converter, documents = self.converter(), Documents(self.workspace)
        sent: dict[str, list[types.Diagnostic]] = {}
        for path, findings in sorted(self.found.items()):
            sent |= {uri: [] for uri in documents.of(path)}
            for finding in findings:
                if finding.place is not None:
                    uri = converter.location(finding.place).uri
                    sent.setdefault(uri, []).append(converter.diagnostic(finding))
        return sent

    def _send(self, uri: str, diagnostics: list[types.Diagnostic]) -> None:
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, diagnostics))

    def converter(self) -> Converter:
        """Positions in the units that the client asked for."""
        documents = Documents(self.workspace)
        return Converter(self.session.sources(), documents, self.workspace.position_codec)

    def of(self, uri: str) -> list[Finding]:
        """The findings of the file that a document shows."""
        return self.found.get(Documents(self.workspace).file_of(uri), [])

    def at(self, uri: str, wanted: types.Range) -> list[Finding]:
        """The findings of a document that touch a range."""
        converter = self.converter()
        places = [(finding, finding.place) for finding in self.of(uri) if finding.place is not None]
        located = [(finding, converter.location(place)) for finding, place in places]
        return [f for f, at in located if is_same(at.uri, uri) and touch(at.range, wanted)]


def _thread_with_room() -> ThreadPoolExecutor:
    """One thread, with a stack on which the parser has as much room as on the main one."""
    before = threading.stack_size(STACK)
    try:
        pool = ThreadPoolExecutor(1, "bnlint")
        pool.submit(int).result()  # the thread is made now
    finally:
        threading.stack_size(before)
    return pool


def make_server() -> Server:
    """A server with all its features."""
    server = Server()

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: types.DidOpenTextDocumentParams) -> None:
        server.update(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: types.DidChangeTextDocumentParams) -> None:
        server.update(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: types.DidSaveTextDocumentParams) -> None:
        server.update(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: types.DidCloseTextDocumentParams) -> None:
        server.closed(params.text_document.uri)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_OPEN)
    def opened_notebook(params: types.DidOpenNotebookDocumentParams) -> None:
        server.update_notebook(params.notebook_document.uri)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def changed_notebook(params: types.DidChangeNotebookDocumentParams) -> None:
        server.update_notebook(params.notebook_document.uri)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def closed_notebook(params: types.DidCloseNotebookDocumentParams) -> None:
        server.closed(params.notebook_document.uri)

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def watched(params: types.DidChangeWatchedFilesParams) -> None:
        paths = [path for change in params.changes if (path := path_of(change.uri))]
        try:
            server.session.changed_on_disk(paths)
        except SettingsError as error:
            server.complain(str(error))
            return
        server.schedule()

    kinds = [types.CodeActionKind.QuickFix, FIX_ALL]

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(kinds))
    def actions(params: types.CodeActionParams) -> list[types.CodeAction]:
        uri = params.text_document.uri
        only = params.context.only or []
        offers = Offers(server.session, server.converter())
        found = offers.about(server.at(uri, params.range), server.of(uri))
        return [a for a in found if not only or any(is_kind(a.kind, kind) for kind in only)]

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    def hover(params: types.HoverParams) -> types.Hover | None:
        return _hover(server, params)

    return server


def _hover(server: Server, params: types.HoverParams) -> types.Hover | None:
    """The pages of the rules found here, or named here in a comment."""
    here = types.Range(params.position, params.position)
    codes = [finding.code for finding in server.at(params.text_document.uri, here)]
    document = server.workspace.get_text_document(params.text_document.uri)
    word = document.word_at_position(params.position)
    codes += [word.upper()] if _CODE.fullmatch(word) else []
    rules = [rule for code in dict.fromkeys(codes) if (rule := find_rule(code)) is not None]
    if not rules:
        return None
    text = "\n\n---\n\n".join(rule_page(rule) for rule in rules)
    return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, text))
