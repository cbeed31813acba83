"""The HTML report: self-contained, escaped, and alive in a real browser."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bnlint.live.charts import ceiling, curve_chart, drift_chart
from bnlint.live.check import check
from bnlint.live.html import _markdown, body, page
from bnlint.live.report import Report
from bnlint.rules import all_rules

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
HOSTILE = "</td></script><script>document['title']='taken'</script><img src=x onerror=alert(1)>\"'&"


class Net(nn.Module):
    def __init__(self, name: str = "middle") -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU())
        self.named = nn.Module()
        self.named.add_module(name, nn.BatchNorm1d(16, momentum=0.99))
        self.last = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.Linear(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        (middle,) = self.named.children()
        return self.last(middle(self.first(x)))


def report(name: str = "middle") -> Report:
    torch.manual_seed(0)
    model, data = Net(name), torch.randn(64, 6)
    with torch.no_grad():
        for _ in range(60):
            model(data)
    model.eval()
    model.last[1].running_var *= 30
    return check(model, data, phase="inference")


class Reader(HTMLParser):
    """What a page refers to, and whether its elements are closed in order."""

    VOID = frozenset({"meta", "br", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert not reader.open
    return reader


def test_the_page_is_well_formed_and_needs_no_other_file() -> None:
    reader = read(page(report()))
    assert {"table", "svg", "script", "details"} <= reader.seen
    assert not {"link", "img", "iframe", "object"} & reader.seen
    assert all(address.startswith("https://") for address in reader.addresses)


def test_names_are_text_and_never_markup() -> None:
    hostile = page(report(HOSTILE))
    reader = read(hostile)
    assert "img" not in reader.seen
    assert hostile.count("<script>") == 1
    assert "&lt;img src=x" in hostile


def test_findings_come_with_the_advice_of_their_rule() -> None:
    text = body(report())
    rule = next(rule for rule in all_rules() if rule.code == "BNL504")
    assert "BNL504" in text and rule.summary in text
    assert "When this is fine" in text and "arxiv.org" in text


def test_a_notebook_shows_the_fragment() -> None:
    found = report()
    assert found._repr_html_() == body(found)
    assert found._repr_html_().startswith('<div class="bnlint">')


def test_markdown_of_the_rules_pages() -> None:
    assert _markdown("a `x < y`\n\n- one\n- two") == (
        "<p>a <code>x &lt; y</code></p><ul><li>one</li><li>two</li></ul>"
    )
    assert _markdown("    d = 1 < 2") == "<pre>    d = 1 &lt; 2</pre>"
    for rule in all_rules():
        read(_markdown(rule.why) + _markdown(rule.fine_when) + _markdown(rule.what))


def test_charts_hold_every_layer() -> None:
    found = report()
    assert drift_chart(found).count("<rect") == 3
    assert curve_chart(found).count("<polyline") == 3
    assert re.search(r"measured at 16: 0\.\d+", curve_chart(found))
    assert [ceiling(values) for values in ([], [0.05], [0.3], [7.0])] == [0.1, 0.1, 0.5, 2.0]


def test_a_model_without_batchnorm_has_a_page() -> None:
    text = page(check(nn.Linear(6, 2), torch.randn(8, 6)))
    read(text)
    assert "NOTHING TO INSPECT" in text and "<svg" not in text


# -- in a real browser


def browse(file: Path, *options: str) -> str:
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", *options, file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


def layers_after(tmp_path: Path, clicks: str) -> list[str]:
    """The names in the table after a script has clicked."""
    text = page(report()).replace("</body>", f"<script>{clicks}</script></body>")
    file = tmp_path / "report.html"
    file.write_text(text, encoding="utf-8")
    return re.findall(r'class="text name" data-value="([^"]*)"', browse(file, "--dump-dom"))


@needs_browser
def test_the_table_sorts_when_a_heading_is_clicked(tmp_path: Path) -> None:
    head = "document.querySelectorAll('.sortable th')"
    assert layers_after(tmp_path, "") == ["first.1", "named.middle", "last.1"]
    assert layers_after(tmp_path, f"{head}[5].click()")[0] == "last.1"
    assert layers_after(tmp_path, f"{head}[5].click(); {head}[5].click()")[2] == "last.1"
    by_name = layers_after(tmp_path, f"{head}[1].click(); {head}[1].click()")
    assert by_name == ["first.1", "last.1", "named.middle"]
    assert layers_after(tmp_path, f"{head}[1].click(); {head}[0].click(); {head}[0].click()") == [
        "first.1",
        "named.middle",
        "last.1",
    ]


@needs_browser
def test_hostile_names_run_nothing(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    report(HOSTILE).to_html(file)
    dumped = browse(file, "--dump-dom")
    assert "<title>bnlint check: Net</title>" in dumped
    assert "onerror=alert(1)>" not in dumped.replace("&gt;", "")


@needs_browser
def test_a_screenshot_shows_both_charts(tmp_path: Path) -> None:
    file, picture = tmp_path / "report.html", tmp_path / "shot.png"
    report().to_html(file)
    browse(file, f"--screenshot={picture}", "--window-size=900,1500")
    data = picture.read_bytes()
    assert struct.unpack(">II", data[16:24]) == (900, 1500)
    blank = tmp_path / "blank.html"
    blank.write_text("<!DOCTYPE html><p>nothing", encoding="utf-8")
    browse(blank, f"--screenshot={tmp_path / 'blank.png'}", "--window-size=900,1500")
    assert len(data) > 3 * (tmp_path / "blank.png").stat().st_size
