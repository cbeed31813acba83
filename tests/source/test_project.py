"""Which file an import means, and which object a name of another file is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bnlint.source.extract import extract
from bnlint.source.facts import FileFacts
from bnlint.source.project import Project
from bnlint.source.trace_artist import TraceArtist
from bnlint.source.values import ClassObject, External, Known


def project_of(root: Path, files: dict[str, str], on_demand: tuple[str, ...] = ()) -> Project:
    """A project of real files; those on demand are extracted when an import asks for them."""
    facts: dict[str, FileFacts] = {}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        facts[path.as_posix()] = extract(path.as_posix(), text)
    late = {path: facts.pop(path) for path in [(root / name).as_posix() for name in on_demand]}
    return Project(root, facts, late.get)


def value_in(project: Project, file: Path, name: str) -> object:
    """What a global name of one file is, once every file has run."""
    artist = TraceArtist(project)
    artist.load_all()
    scope = project.scope(file.as_posix())
    assert scope is not None
    value = scope.value(name)
    return value.value if isinstance(value, Known) else value


def resolved(
    root: Path, files: dict[str, str], importer: str, module: str, level: int
) -> str | None:
    scope = project_of(root, files).resolve(module, level, (root / importer).as_posix())
    return None if scope is None else str(Path(scope.facts.path).relative_to(root))


LAYOUT = dict.fromkeys(
    (
        "a.py",
        "pkg/__init__.py",
        "pkg/a.py",
        "pkg/sub/__init__.py",
        "pkg/sub/b.py",
        "loose/c.py",
        "src/lib/__init__.py",
        "src/lib/d.py",
        "tools/a.py",
        "tools/run.py",
    ),
    "",
)


@pytest.mark.parametrize(
    ("importer", "module", "level", "wanted"),
    [
        ("a.py", "pkg", 0, "pkg/__init__.py"),
        ("a.py", "pkg.a", 0, "pkg/a.py"),
        ("a.py", "pkg.sub.b", 0, "pkg/sub/b.py"),
        ("pkg/sub/b.py", "a", 0, "pkg/a.py"),
        ("pkg/sub/b.py", "a", 2, "pkg/a.py"),
        ("pkg/sub/b.py", "", 1, "pkg/sub/__init__.py"),
        ("pkg/sub/b.py", "", 2, "pkg/__init__.py"),
        ("pkg/sub/b.py", "a", 3, "a.py"),
        ("pkg/sub/b.py", "a", 4, None),
        ("pkg/__init__.py", "a", 1, "pkg/a.py"),
        ("pkg/a.py", "sub", 1, "pkg/sub/__init__.py"),
        ("pkg/a.py", "b", 1, None),
        ("a.py", "loose.c", 0, "loose/c.py"),
        ("a.py", "lib.d", 0, "src/lib/d.py"),
        ("pkg/a.py", "lib", 0, "src/lib/__init__.py"),
        ("tools/run.py", "a", 0, "tools/a.py"),
        ("tools/run.py", "pkg.a", 0, "pkg/a.py"),
        ("loose/c.py", "a", 0, "a.py"),
        ("a.py", "torch.nn", 0, None),
        ("a.py", "pkg.nothing", 0, None),
    ],
)
def test_an_import_finds_its_file(
    tmp_path: Path, importer: str, module: str, level: int, wanted: str | None
) -> None:
    assert resolved(tmp_path, LAYOUT, importer, module, level) == wanted


def test_nothing_outside_the_root_is_opened(tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text("X = 1\n")
    asked: list[str] = []
    root = tmp_path / "root"
    project = Project(root, {}, lambda path: asked.append(path))
    assert project.resolve("outside", 0, f"{root}/a.py") is None
    assert project.resolve("outside", 2, f"{root}/a.py") is None
    assert project.resolve("outside", 3, f"{root}/a/b.py") is None
    assert asked
    assert all(path.startswith(f"{root}/") for path in asked)


def test_a_folder_without_init_is_a_namespace_package(tmp_path: Path) -> None:
    project = project_of(tmp_path, {"loose/c.py": "X = 1\n", "a.py": ""})
    package = project.resolve("loose", 0, f"{tmp_path}/a.py")
    assert package is not None
    module = project.submodule(package, "c")
    assert module is not None
    assert module.facts.path == f"{tmp_path}/loose/c.py"


def test_a_module_has_one_scope(tmp_path: Path) -> None:
    project = project_of(tmp_path, LAYOUT)
    once = project.resolve("pkg.a", 0, f"{tmp_path}/a.py")
    again = project.resolve("a", 1, f"{tmp_path}/pkg/__init__.py")
    assert once is not None
    assert once is again
    assert once.name == "pkg.a"


ADDED = """\
import os, sys
from pathlib import Path
import os.path as osp
{}
"""


@pytest.mark.parametrize(
    "text",
    [
        "sys.path.append('../lib')",
        "sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))",
        "here = osp.dirname(osp.abspath(__file__))\nsys.path.append(here + '/../lib')",
        "ROOT = Path(__file__).resolve().parents[1]\nsys.path.append(str(ROOT / 'lib'))",
        "sys.path.append(str(Path(__file__).parent.parent / 'lib'))",
        "def add(path):\n    sys.path.insert(0, path)\nadd(osp.dirname(__file__) + '/../lib')",
        "sys.path.append(os.path.join(os.path.dirname(os.getcwd()), 'lib'))",
    ],
)
def test_what_is_added_to_the_search_path(tmp_path: Path, text: str) -> None:
    layout = {"lib/core/net.py": "", "tools/run.py": ADDED.format(text), "tools/core/x.txt": ""}
    assert resolved(tmp_path, layout, "tools/run.py", "core.net", 0) == "lib/core/net.py"


@pytest.mark.parametrize(
    "text",
    [
        "path.append('../lib')",
        "sys.path.append(folder())",
        "sys.path.append(os.path.join(folder(), 'lib'))",
        "sys.path.append('../lib'); sys.path.append('../other')",
        "sys.path.append('/lib')",
        "sys.path.append('../../../../../lib')",
    ],
)
def test_what_is_not_or_not_surely_added(tmp_path: Path, text: str) -> None:
    layout = {"lib/net.py": "", "other/net.py": "", "tools/run.py": ADDED.format(text)}
    assert resolved(tmp_path, layout, "tools/run.py", "net", 0) is None


CLASS = "class A:\n    pass\n"


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"m.py": CLASS, "main.py": "from m import A\n"}, "m.A"),
        ({"m.py": CLASS, "main.py": "import m\nA = m.A\n"}, "m.A"),
        ({"m.py": CLASS, "main.py": "import m as n\nA = n.A\n"}, "m.A"),
        ({"m.py": CLASS, "main.py": "from m import *\n"}, "m.A"),
        ({"m.py": f"__all__ = ['B']\n{CLASS}B = 1\n", "main.py": "from m import *\n"}, None),
        ({"m.py": f"__all__ = ['A']\n{CLASS}", "main.py": "from m import *\n"}, "m.A"),
        ({"m.py": CLASS.replace("A", "_A"), "main.py": "from m import *\nA = _A\n"}, None),
        (
            {
                "p/__init__.py": "from .inner import A\n",
                "p/inner.py": CLASS,
                "main.py": "from p import A\n",
            },
            "p.inner.A",
        ),
        (
            {
                "p/__init__.py": "from .inner import *\n",
                "p/inner.py": CLASS,
                "main.py": "import p\nA = p.A\n",
            },
            "p.inner.A",
        ),
        (
            {
                "p/__init__.py": "",
                "p/inner.py": CLASS,
                "main.py": "import p.inner\nA = p.inner.A\n",
            },
            "p.inner.A",
        ),
        (
            {
                "p/__init__.py": "",
                "p/inner.py": CLASS,
                "main.py": "from p import inner\nA = inner.A\n",
            },
            "p.inner.A",
        ),
        ({"p/inner.py": CLASS, "main.py": "import p.inner as i\nA = i.A\n"}, "p.inner.A"),
        ({"p/inner.py": CLASS, "main.py": "from p import inner\nA = inner.A\n"}, "p.inner.A"),
        ({"z.py": f"import main\n{CLASS}", "main.py": "from z import A\n"}, "z.A"),
        ({"m.py": "from main import A\n", "main.py": f"import m\n{CLASS}"}, "main.A"),
    ],
)
def test_a_name_means_the_class_of_another_file(
    tmp_path: Path, files: dict[str, str], wanted: str | None
) -> None:
    value = value_in(project_of(tmp_path, files), tmp_path / "main.py", "A")
    if isinstance(value, ClassObject):
        assert value.qualified == wanted
    else:
        assert wanted is None


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [("m", "nowhere", "m.A"), ("nowhere", "m", External("nowhere.A"))],
)
def test_an_import_in_a_try_is_taken_to_succeed(
    tmp_path: Path, first: str, second: str, wanted: object
) -> None:
    main = f"try:\n    from {first} import A\nexcept ImportError:\n    from {second} import A\n"
    project = project_of(tmp_path, {"m.py": CLASS, "main.py": main})
    value = value_in(project, tmp_path / "main.py", "A")
    assert wanted == (value.qualified if isinstance(value, ClassObject) else value)


def test_an_import_reads_a_file_on_demand(tmp_path: Path) -> None:
    files = {"values.py": "X = 3\n", "main.py": "from values import X\nY = X + 1\n"}
    project = project_of(tmp_path, files, on_demand=("values.py",))
    assert value_in(project, tmp_path / "main.py", "Y") == 4


def test_the_nearest_file_wins(tmp_path: Path) -> None:
    files = {
        "model.py": "X = 'root'\n",
        "one/model.py": "X = 'one'\n",
        "one/main.py": "from model import X\n",
        "two/main.py": "from model import X\n",
        "src/model.py": "X = 'src'\n",
    }
    project = project_of(tmp_path, files)
    assert value_in(project, tmp_path / "one/main.py", "X") == "one"
    project = project_of(tmp_path, files)
    assert value_in(project, tmp_path / "two/main.py", "X") == "root"


def test_a_change_of_sys_path_does_not_break_what_is_found(tmp_path: Path) -> None:
    text = "import sys\nsys.path.append('..')\nfrom models.net import X\n"
    files = {"models/net.py": "X = 5\n", "tools/main.py": text}
    assert value_in(project_of(tmp_path, files), tmp_path / "tools/main.py", "X") == 5
