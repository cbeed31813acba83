"""The report as a notebook shows it: a kernel runs a cell, and its HTML is read."""

from __future__ import annotations

from html.parser import HTMLParser

import nbformat
import pytest
from nbclient import NotebookClient

CELL = """
import torch
from torch import nn
import bnlint

torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU())
bnlint.check(model, torch.randn(64, 4), phase="inference")
"""

VOID = {"br", "hr", "img", "input", "link", "meta", "line", "rect", "circle", "path", "polyline"}


class Page(HTMLParser):
    """Texts of the table's cells and of everything; elements that are open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.text = ""
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data.strip()


@pytest.mark.slow
def test_a_report_in_a_notebook() -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    (output,) = [o for o in notebook.cells[0].outputs if o.output_type == "execute_result"]
    assert set(output.data) == {"text/plain", "text/html"}
    page = Page(output.data["text/html"])
    assert page.open == []
    assert any(row and row[0].startswith("1") for row in page.rows), page.rows
    assert "BNL101" in page.text and "is in training mode" in page.text
    assert not {"html", "body"} & page.tags  # a part of somebody else's page
