"""`bnlint server`: the language server over standard input and output."""

from __future__ import annotations

import asyncio
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

import bnlint
from bnlint.finding import Finding
from bnlint.output.page import rule_page
from bnlint.rules import find_rule
from bnlint.server.convert import Converter, uri_of
from bnlint.server.session import Session
from bnlint.settings import SettingsError

PATIENCE: Final = 0.2
"""Seconds of silence after a change before the project is judged again."""

STACK: Final = 16 * 1024 * 1024
"""Bytes; the guard's limits are made for the 8 MiB of a main thread."""

_CODE: Final = re.compile(r"BNL\d{3}", re.IGNORECASE)
FIX_ALL: Final = f"{types.CodeActionKind.SourceFixAll.value}.bnlint"


class Server(LanguageServer):
    """The protocol's side of a session."""

    def __init__(self) -> None:
        super().__init__("bnlint", bnlint.__version__)
        self.session = Session()
        self.found: dict[str, list[Finding]] = {}
        self._pending: asyncio.TimerHandle | None = None
        self._is_judging = False
        self._is_stale = False
        self._judge = _thread_with_room()

    def update(self, uri: str) -> None:
        """A document was opened or changed: judge again once the typing pauses."""
        path = to_fs_path(uri)
        if path is None:
            return
        try:
            self.session.open(path, self.workspace.get_text_document(uri).source)
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
        closed = self.found.keys() - found.keys()
        self.found = found
        converter = self.converter()
        for path in sorted(closed):
            self._send(path, [])
        for path, findings in sorted(found.items()):
            self._send(path, [converter.diagnostic(finding) for finding in findings])

    def _send(self, path: str, diagnostics: list[types.Diagnostic]) -> None:
        uri = uri_of(path)
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, diagnostics))

    def converter(self) -> Converter:
        """Positions in the units that the client asked for."""
        return Converter(self.session.sources(), self.workspace.position_codec)

    def at(self, uri: str, wanted: types.Range) -> list[Finding]:
        """The findings of a document that touch a range."""
        path = to_fs_path(uri)
        converter = self.converter()
        return [
            finding
            for finding in self.found.get(path or "", [])
            if finding.place is not None and _touch(converter.range(finding.place), wanted)
        ]


def _thread_with_room() -> ThreadPoolExecutor:
    """One thread, with a stack on which the parser has as much room as on the main one."""
    before = threading.stack_size(STACK)
    try:
        pool = ThreadPoolExecutor(1, "bnlint")
        pool.submit(int).result()  # the thread is made now
    finally:
        threading.stack_size(before)
    return pool


def _touch(one: types.Range, other: types.Range) -> bool:
    return not (_key(one.end) < _key(other.start) or _key(other.end) < _key(one.start))


def _key(position: types.Position) -> tuple[int, int]:
    return position.line, position.character


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
        path = to_fs_path(params.text_document.uri)
        if path is not None:
            server.session.close(path)
            server.schedule()

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def watched(params: types.DidChangeWatchedFilesParams) -> None:
        paths = [path for change in params.changes if (path := to_fs_path(change.uri))]
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
        found = [
            action
            for finding in server.at(uri, params.range)
            for action in (_fix(server, finding), _ignore(server, finding))
            if action is not None
        ]
        everything = _fix_all(server, uri)
        found += [] if everything is None else [everything]
        return [a for a in found if not only or any(_is_kind(a.kind, kind) for kind in only)]

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    def hover(params: types.HoverParams) -> types.Hover | None:
        return _hover(server, params)

    return server


def _is_kind(kind: types.CodeActionKind | str | None, wanted: types.CodeActionKind | str) -> bool:
    """Whether a kind is the wanted one or below it: source.fixAll.bnlint is a source.fixAll."""
    have, want = (str(getattr(k, "value", k)) for k in (kind, wanted))
    return have == want or have.startswith(f"{want}.")


def _edits(server: Server, findings: list[Finding]) -> types.WorkspaceEdit | None:
    converter = server.converter()
    changes: dict[str, list[types.TextEdit]] = {}
    for finding in findings:
        place, fix = finding.place, finding.fix
        if place is None or fix is None or not fix.edits or place.cell is not None:
            continue
        edits = [converter.edit(place.path, edit) for edit in fix.edits]
        known = changes.setdefault(uri_of(place.path), [])
        if not any(_touch(edit.range, other.range) for edit in edits for other in known):
            known += edits
    return types.WorkspaceEdit(changes) if any(changes.values()) else None


def _fix(server: Server, finding: Finding) -> types.CodeAction | None:
    edit = _edits(server, [finding])
    if edit is None or finding.fix is None:
        return None
    safety = "" if finding.fix.safe else " (unsafe)"
    return types.CodeAction(
        f"{finding.code}: {finding.fix.message}{safety}",
        types.CodeActionKind.QuickFix,
        [server.converter().diagnostic(finding)],
        is_preferred=finding.fix.safe,
        edit=edit,
    )


def _ignore(server: Server, finding: Finding) -> types.CodeAction | None:
    written = server.session.ignore(finding)
    if written is None or finding.code.startswith("BNL9"):
        return None
    path, edit = written
    changes = {uri_of(path): [server.converter().edit(path, edit)]}
    return types.CodeAction(
        f"{finding.code}: excuse this with a comment",
        types.CodeActionKind.QuickFix,
        [server.converter().diagnostic(finding)],
        edit=types.WorkspaceEdit(changes),
    )


def _fix_all(server: Server, uri: str) -> types.CodeAction | None:
    """All safe fixes of a file at once."""
    findings = server.found.get(to_fs_path(uri) or "", [])
    edit = _edits(server, [f for f in findings if f.fix is not None and f.fix.safe])
    if edit is None:
        return None
    return types.CodeAction("bnlint: make all safe fixes", FIX_ALL, edit=edit)


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
