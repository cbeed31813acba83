"""JUnit XML: each finding a test case, for CI systems that show test results."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Final

from bnlint.finding import Finding
from bnlint.output.base import Printout, where
from bnlint.paths import shown_path
from bnlint.printable import counted, printable

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_KEPT: Final = "\n\t"


def render(printout: Printout) -> str:
    """One suite for each file with findings. What does not fail the run is a passed case with a
    message, what is suppressed a skipped one, what could not be read an error; a clean run is one
    passed case."""
    from xml.etree.ElementTree import Element, indent, tostring

    root = Element("testsuites", name="bnlint")
    for path, group in groupby(printout.findings, _path):
        root.append(_suite(path, list(group), printout))
    if printout.unread:
        root.append(_unread(printout))
    elif not printout.findings:
        suite = _element("testsuite", name="bnlint")
        checked = counted(printout.files, "file")
        suite.append(_element("testcase", name=checked, classname="bnlint"))
        root.append(suite)
    for suite in root:
        _count(suite, [suite])
    _count(root, list(root))
    indent(root)
    text: bytes = tostring(root, encoding="us-ascii")
    return text.decode("ascii") + "\n"


def _path(finding: Finding) -> str:
    return "<unknown>" if finding.place is None else shown_path(finding.place.path)


def _count(element: Element, suites: list[Element]) -> None:
    counts = {
        "tests": "testcase", "failures": "failure", "skipped": "skipped", "errors": "error",
    }  # fmt: skip
    for attribute, tag in counts.items():
        found = sum(1 for suite in suites for _ in suite.iter(tag))
        element.set(attribute, str(found))


def _unread(printout: Printout) -> Element:
    """A suite of what could not be read."""
    suite = _element("testsuite", name="cannot be read")
    for path, reason in printout.unread:
        case = _element("testcase", name=shown_path(path), classname="bnlint")
        case.append(_element("error", message=f"cannot be read: {reason}", type="unreadable"))
        suite.append(case)
    return suite


def _suite(path: str, findings: list[Finding], printout: Printout) -> Element:
    suite = _element("testsuite", name=path)
    suite.extend(_case(path, finding, printout) for finding in findings)
    return suite


def _case(path: str, finding: Finding, printout: Printout) -> Element:
    at = where(finding.place).removeprefix(f"{path}:")
    name = f"{finding.code} {finding.name} at {at}"
    case = _element("testcase", name=name, classname=path, file=path)
    if finding.place is not None:
        case.set("line", str(printout.in_file(finding.place).line))
    if finding.suppressed:
        reason = finding.reason or ("in the baseline" if finding.baselined else "suppressed")
        case.append(_element("skipped", message=reason))
    elif finding.severity >= printout.fail_level:
        kind = f"{finding.severity.label} {finding.code}"
        failure = _element("failure", message=finding.message, type=kind)
        failure.text = printable("\n".join(_lines(finding)), _KEPT)
        case.append(failure)
    else:
        said = _element("system-out")
        said.text = printable("\n".join(_lines(finding)), _KEPT)
        case.append(said)
    return case


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{where(finding.place)}: {finding.code} [{finding.severity.label}] {finding.message}"
    for step in finding.evidence:
        yield f"{where(step.place)}: {step.message}"
    yield finding.url


def _element(tag: str, /, **attributes: str) -> Element:
    from xml.etree.ElementTree import Element

    return Element(tag, {key: printable(value, _KEPT) for key, value in attributes.items()})
