"""When modules are run: as soon as one is asked for a name, or at once where it acts on others."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_project import project_of

from bnlint.source.trace_artist import TraceArtist
from bnlint.source.values import Alternatives, ClassObject, External, Known


def scripted(root: Path, files: dict[str, str], script: str = "main.py") -> tuple[object, set[str]]:
    """What `found` is at the end of a script, and the files that were run for it."""
    project = project_of(root, files)
    artist = TraceArtist(project)
    facts = project.facts((root / script).as_posix())
    assert facts is not None
    artist._trace_script(facts)
    (kept,) = (d for d in artist.machine.definitions if d.definition.name == "found_at_the_end")
    value = kept.frame.module.value("found")
    scopes = (project.scope((root / name).as_posix()) for name in files)
    run = {
        Path(s.facts.path).relative_to(root).as_posix()
        for s in scopes
        if s is not None and s.executed
    }
    return (value.value if isinstance(value, Known) else value), run


END = "\ndef found_at_the_end():\n    pass\n"


def test_a_module_that_nobody_asks_is_not_run(tmp_path: Path) -> None:
    files = {
        "main.py": f"import other\nfrom part import used, unused\nfound = used\n{END}",
        "part.py": "from far import unused\nused = 3\n",
        "other.py": "x = 1\n",
        "far.py": "unused = 4\n",
    }
    assert scripted(tmp_path, files) == (3, {"part.py"})


REGISTRY = (
    "class Registry:\n    def __init__(self):\n        self.known = {}\n"
    "    def register(self, name):\n        def enter(cls):\n            self._put(name, cls)\n"
    "            return cls\n        return enter\n"
    "    def _put(self, name, cls):\n        self.known[name] = cls\n"
    "MODELS = Registry()\nTABLE = {}\n"
    "def enter(cls):\n    TABLE['net'] = cls\n    return cls\n"
    "def plain(cls):\n    cls.mark = TABLE\n    return cls\n"
)
ENTERING = {
    "a method that gives a decorator": (
        "from registry import MODELS\n@MODELS.register('net')\nclass Net:\n    pass\n",
        "MODELS.known['net']",
    ),
    "a function as a decorator": (
        "from registry import enter\n@enter\nclass Net:\n    pass\n",
        "TABLE['net']",
    ),
    "an item of a table": (
        "import registry\nclass Net:\n    pass\nregistry.TABLE['net'] = Net\n",
        "TABLE['net']",
    ),
    "an update of a table": (
        "from registry import TABLE\nclass Net:\n    pass\nTABLE.update({'net': Net})\n",
        "TABLE['net']",
    ),
    "a call": (
        "from registry import enter as put\nclass Net:\n    pass\nput(Net)\n",
        "TABLE['net']",
    ),
    "another name of the table": (
        "import registry\nknown = registry.TABLE\nclass Net:\n    pass\nknown['net'] = Net\n",
        "TABLE['net']",
    ),
    "inside a branch": (
        "from registry import TABLE\nclass Net:\n    pass\nif True:\n    TABLE['net'] = Net\n",
        "TABLE['net']",
    ),
}


@pytest.mark.parametrize(("text", "looked_up"), ENTERING.values(), ids=ENTERING)
def test_who_looks_into_a_table_sees_what_modules_have_entered(
    tmp_path: Path, text: str, looked_up: str
) -> None:
    """The module that enters a class is imported by a package only, and named by nobody."""
    files = {
        "main.py": f"import nets\nfrom registry import *\nfound = {looked_up}\n{END}",
        "nets/__init__.py": "from . import net\n",
        "nets/net.py": text,
        "nets/quiet.py": "x = 1\n",
        "registry.py": REGISTRY,
    }
    value, run = scripted(tmp_path, files)
    assert isinstance(value, ClassObject)
    assert value.name == "Net"
    assert "nets/quiet.py" not in run


def test_a_decorator_that_keeps_nothing_runs_nothing(tmp_path: Path) -> None:
    files = {
        "main.py": f"from net import Net\nfound = 1\n{END}",
        "net.py": "from registry import plain\n@plain\nclass Net:\n    pass\n",
        "registry.py": REGISTRY,
    }
    assert scripted(tmp_path, files) == (1, set())


def test_a_name_that_a_branch_asks_for_first_is_there_after_it(tmp_path: Path) -> None:
    files = {
        "main.py": (
            "import sys\nfrom part import x\nif len(sys.argv) > 1:\n    y = x\n"
            f"else:\n    y = 3\nfound = x\n{END}"
        ),
        "part.py": "x = 3\n",
    }
    assert scripted(tmp_path, files) == (3, {"part.py"})


def test_a_name_that_one_branch_binds_anew_is_either(tmp_path: Path) -> None:
    branch = "if len(sys.argv) > 1:\n    x = 4\n"
    files = {
        "main.py": f"import sys\nfrom part import x\n{branch}found = x\n{END}",
        "part.py": "x = 3\n",
    }
    value, _ = scripted(tmp_path, files)
    assert isinstance(value, Alternatives)
    assert set(value.values) == {Known(3), Known(4)}


STARS = {
    "a list of names": ("__all__ = ['x']\nx = 3\ny = 4\n", {"part.py"}),
    "a list that grows": ("__all__ = []\n__all__ += ['x']\nx = 3\n", {"part.py"}),
    "no list": ("x = 3\n_y = 4\n", {"part.py"}),
    "a star behind it": ("from far import *\n", {"part.py", "far.py"}),
    "names that no text shows": ("globals()['x'] = 3\nx = 3\n", {"part.py"}),
}


@pytest.mark.parametrize(("text", "run"), STARS.values(), ids=STARS)
def test_a_star_brings_its_names_without_running_anything(
    tmp_path: Path, text: str, run: set[str]
) -> None:
    files = {
        "main.py": f"from other import *\nfrom part import *\nfound = x\n{END}",
        "part.py": text,
        "far.py": "x = 3\n",
        "other.py": "z = 4\n",
    }
    assert scripted(tmp_path, files) == (3, run)


def test_a_star_leaves_alone_what_its_module_keeps_for_itself(tmp_path: Path) -> None:
    files = {
        "main.py": f"x = 1\nfrom part import *\nfound = x\n{END}",
        "part.py": "__all__ = ['y']\nx = 3\ny = 4\n",
    }
    assert scripted(tmp_path, files) == (1, set())


def test_modules_that_import_each_other_run_at_once(tmp_path: Path) -> None:
    """As in Python, who is imported first sees all names, and is seen with those it has so far."""
    files = {
        "main.py": f"import a\nfound = 1\n{END}",
        "a.py": "early = 3\nfrom b import b_name\na_name = b_name\n",
        "b.py": "from a import early\nimport quiet\nb_name = early\n",
        "quiet.py": "x = 1\n",
    }
    assert scripted(tmp_path, files) == (1, set())
    files["main.py"] = f"from a import a_name\nfound = a_name\n{END}"
    assert scripted(tmp_path, files) == (3, {"a.py", "b.py"})


def test_names_that_stand_for_each_other_end(tmp_path: Path) -> None:
    files = {
        "main.py": f"from a import x\nfound = x is None\n{END}",
        "a.py": "from b import x\n",
        "b.py": "from a import x\n",
    }
    assert scripted(tmp_path, files)[1] == {"a.py", "b.py"}


def test_what_is_imported_for_type_checkers_is_not_run(tmp_path: Path) -> None:
    files = {
        "main.py": f"from net import Net\nfound = Net.width\n{END}",
        "net.py": (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from part import Part\n"
            "class Net:\n    width = 3\n    def take(self, part: 'Part'):\n        pass\n"
        ),
        "part.py": "import table\nclass Part:\n    pass\ntable.KNOWN['part'] = Part\n",
        "table.py": "KNOWN = {}\n",
    }
    assert scripted(tmp_path, files) == (3, {"net.py"})


def test_a_lazy_package_has_the_names_that_type_checkers_see(tmp_path: Path) -> None:
    lazy = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .{0} import *\n"
        "else:\n    import sys\n    from tools import Lazy\n"
        "    sys.modules[__name__] = Lazy(globals()['__file__'])\n"
    )
    files = {
        "main.py": f"from zoo import Net\nfound = Net.width\n{END}",
        "zoo/__init__.py": lazy.format("nets"),
        "zoo/nets/__init__.py": lazy.format("net") + "if TYPE_CHECKING:\n    from .far import *\n",
        "zoo/nets/net.py": "__all__ = ['Net']\nclass Net:\n    width = 3\n",
        "zoo/nets/far.py": "__all__ = ['Far']\nclass Far:\n    width = 4\n",
        "tools.py": "class Lazy:\n    def __init__(self, file):\n        self.file = file\n",
    }
    value, run = scripted(tmp_path, files)
    assert value == 3
    assert "zoo/nets/far.py" not in run


def test_globals_by_a_name_that_is_written_run_nothing_else(tmp_path: Path) -> None:
    files = {
        "main.py": f"from a import x\nfrom b import y\nfound = globals()['x']\n{END}",
        "a.py": "x = 3\n",
        "b.py": "y = 4\n",
    }
    assert scripted(tmp_path, files) == (3, {"a.py"})


def test_globals_by_any_name_have_what_is_imported(tmp_path: Path) -> None:
    files = {
        "main.py": f"from a import x\nname = 'x'\nfound = globals()[name]\n{END}",
        "a.py": "x = 3\n",
    }
    assert scripted(tmp_path, files) == (3, {"a.py"})


def test_a_name_from_outside_over_a_module_of_the_project(tmp_path: Path) -> None:
    files = {
        "main.py": f"from layers import Conv2d\nfound = Conv2d\n{END}",
        "layers.py": "from torch.nn import Conv2d\n",
    }
    assert scripted(tmp_path, files)[0] == External("torch.nn.Conv2d")


def test_of_functions_inside_functions_the_first_is_remembered(tmp_path: Path) -> None:
    calls = "outer(1)\nouter(2)\n"
    files = {
        "main.py": f"def outer(n):\n    def inner():\n        return n\n    return inner\n{calls}"
    }
    artist = TraceArtist(project_of(tmp_path, files))
    artist.load_all()
    names = [d.definition.name for d in artist.machine.definitions]
    assert sorted(names) == ["inner", "outer"]
