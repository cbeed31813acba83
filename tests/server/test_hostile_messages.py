"""The language server under messages that no editor should send: it answers, and goes on."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pygls")

ROOT = Path(__file__).parents[2]
WRONG = "import torch.nn as nn\n\nbn = nn.BatchNorm2d(8, momentum=0.99)\n"
WAIT = 90

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes are not selected there")


class Wire:
    """The bytes between an editor and the server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bnlint", "server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self._read = b""
        self._number = 0

    def raw(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def body(self, body: bytes) -> None:
        self.raw(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def notify(self, method: str, params: object) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.body(json.dumps(message).encode())

    def ask(self, method: str, params: object) -> dict[str, Any]:
        """The answer to a request."""
        self._number += 1
        request = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        self.body(json.dumps(request).encode())
        return self.wait(lambda message: message.get("id") == self._number)

    def shown(self, uri: str) -> list[str]:
        """The codes of the next diagnostics of a document."""
        method = "textDocument/publishDiagnostics"
        found = self.wait(lambda m: m.get("method") == method and m["params"]["uri"] == uri)
        return [diagnostic["code"] for diagnostic in found["params"]["diagnostics"]]

    def wait(self, is_wanted: Any) -> dict[str, Any]:
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            for message in self._messages():
                if is_wanted(message):
                    return message
        raise AssertionError(f"no answer; the server has ended with {self.process.poll()}")

    def _messages(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout is not None
        if select.select([self.process.stdout], [], [], 1)[0]:
            self._read += os.read(self.process.stdout.fileno(), 1 << 20)
        while b"\r\n\r\n" in self._read:
            head, _, rest = self._read.partition(b"\r\n\r\n")
            length = next(int(h.split(b":")[1]) for h in head.split(b"\r\n") if b"Length" in h)
            if len(rest) < length:
                return
            self._read = rest[length:]
            yield json.loads(rest[:length])


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").touch()
    wire = Wire(folder)
    start = {"processId": None, "rootUri": folder.as_uri(), "capabilities": {}}
    assert "capabilities" in wire.ask("initialize", start)["result"]
    wire.notify("initialized", {})
    yield wire
    wire.process.kill()
    wire.process.wait()


@pytest.fixture
def document(wire: Wire, request: pytest.FixtureRequest) -> Iterator[str]:
    """An open document with one finding; after each test the server is still there for another."""
    yield opened(wire, "bn.py")
    assert wire.process.poll() is None
    name = f"after_{abs(hash(request.node.name))}.py"
    uri = opened(wire, name)
    for each in (uri, (wire.folder / "bn.py").as_uri()):
        wire.notify("textDocument/didClose", {"textDocument": {"uri": each}})


def opened(wire: Wire, name: str, text: str = WRONG) -> str:
    uri = (wire.folder / name).as_uri()
    item = {"uri": uri, "languageId": "python", "version": 1, "text": text}
    wire.notify("textDocument/didOpen", {"textDocument": item})
    expected = ["BNL401"] if text == WRONG else ["BNL901"]
    assert wire.shown(uri) == expected
    return uri


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"[1, 2]",
        b'"x"',
        b"{}",
        b'{"jsonrpc": "2.0"}',
        b'{"jsonrpc": "1.0", "method": "initialized", "params": {}}',
        b'{"jsonrpc": "2.0", "method": 7, "params": 7}',
        b'{"jsonrpc": "2.0", "id": 99, "method": "textDocument/hover", "params": {"x": 1}}',
        b'{"jsonrpc": "2.0", "id": {"a": []}, "method": "textDocument/hover"}',
        b'{"jsonrpc": "2.0", "id": 9999, "result": "to no question"}',
        b'{"jsonrpc": "2.0", "id": 77, "method": "no/such", "params": null}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"jsonrpc": "2.0", "method": "textDocument/didOpen", "params": {"textDocument": null}}',
    ],
    ids=str,
)
def test_a_body_that_is_no_message(wire: Wire, document: str, body: bytes) -> None:
    wire.body(body)


@pytest.mark.parametrize(
    "header",
    [b"Content-Length: x\r\n\r\n", b"Nonsense\r\n\r\n", b"\r\n\r\n", b"X" * 10_000 + b"\r\n\r\n"],
    ids=["no number", "no header", "nothing", "long"],
)
def test_a_header_that_is_none(wire: Wire, document: str, header: bytes) -> None:
    wire.raw(header)


def test_edits_out_of_range(wire: Wire, document: str) -> None:
    far = {"line": 10**6, "character": 10**6}
    for number, (start, end, text) in enumerate(
        [
            (far, far, "# far\n"),
            ({"line": 2, "character": 10**9}, far, "\n"),
            (far, {"line": 0, "character": 0}, "x"),
            ({"line": 2**31 - 1, "character": 0}, {"line": 0, "character": 2**31 - 1}, ""),
        ],
        2,
    ):
        change = {"range": {"start": start, "end": end}, "text": text}
        identifier = {"uri": document, "version": number}
        wire.notify(
            "textDocument/didChange", {"textDocument": identifier, "contentChanges": [change]}
        )
    for method in ("textDocument/hover", "textDocument/codeAction"):
        for place in (far, {"line": 2**31 - 1, "character": 2**31 - 1}):
            params = {
                "textDocument": {"uri": document},
                "position": place,
                "range": {"start": place, "end": place},
                "context": {"diagnostics": [], "only": ["", "quickfix", "no.such.kind"]},
            }
            assert "error" not in wire.ask(method, params)
    whole = {"textDocument": {"uri": document, "version": 99}, "contentChanges": [{"text": WRONG}]}
    wire.notify("textDocument/didChange", whole)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "untitled:Untitled-1",
        "http://example.org/x.py",
        "file:///",
        "file:///proc/self/mem",
        "file:///nowhere/%00%ff.py",
        "file://host/x.py",
        "file:///" + "a/" * 5_000 + "x.py",
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
    ids=lambda uri: repr(uri[:20]),
)
def test_documents_of_any_name(wire: Wire, document: str, uri: str) -> None:
    item = {"uri": uri, "languageId": "python", "version": 1, "text": WRONG}
    wire.notify("textDocument/didOpen", {"textDocument": item})
    position = {"line": 2, "character": 20}
    wire.ask("textDocument/hover", {"textDocument": {"uri": uri}, "position": position})
    wire.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
    wire.notify("textDocument/didClose", {"textDocument": {"uri": uri}})


def test_what_was_never_opened(wire: Wire, document: str) -> None:
    gone = (wire.folder / "gone.py").as_uri()
    identifier = {"uri": gone, "version": 5}
    wire.notify(
        "textDocument/didChange", {"textDocument": identifier, "contentChanges": [{"text": "x"}]}
    )
    wire.notify("textDocument/didClose", {"textDocument": {"uri": gone}})
    changes = [{"uri": each, "type": 3} for each in (gone, "untitled:x", "file:///")]
    wire.notify("workspace/didChangeWatchedFiles", {"changes": changes})


@pytest.mark.parametrize(
    "text",
    ["x = 1\n" * 60_000, "(" * 50_000, "x = '" + "a" * 6_000_000 + "'\n", "x = \0"],
    ids=["lines", "brackets", "megabytes", "null"],
)
def test_huge_and_deep_documents_are_refused(wire: Wire, document: str, text: str) -> None:
    uri = opened(wire, "huge.py", text)
    wire.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
