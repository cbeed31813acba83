"""Where a program keeps its model, and how its routines get at it.

A routine's lines name what they work on as `<model>`, and call other routines as `<<validate>>`,
or `<<validate(epoch)>>` with arguments of their own. A style turns routines into functions,
methods, closures or nothing at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from textwrap import indent

from layout import Layout

VARIABLE = re.compile(r"<([a-z_]\w*)>")
CALL = re.compile(r"<<(\w+)(?:\(([^()]*)\))?>>")
STATE = ("model", "optimizer", "train_loader", "val_loader")
"""What a program keeps from its beginning to its end."""


@dataclass
class Routine:
    """A piece of a program with a name; `result` is what it returns, "" for nothing.

    parameters: of its own, beside the state. decorators: of the function that it becomes; `around`
    is the statement that does the same where it becomes none.
    """

    name: str
    lines: list[str]
    result: str = ""
    parameters: tuple[str, ...] = ()
    decorators: tuple[str, ...] = ()
    around: str = ""


@dataclass
class Style:
    """Turns routines into text; this one makes functions that are given all they need."""

    random: Random
    layout: Layout
    routines: dict[str, Routine]
    _calls: dict[str, str] = field(default_factory=dict)

    rebinding = ""
    """The statement without which a routine may not assign to the model."""
    at_module_level = False
    """Whether the main part must stand outside any function."""

    # --- names -------------------------------------------------------------------------------

    def variable(self, name: str) -> str:
        """How a routine spells a part of the state."""
        return name

    def in_main(self, name: str) -> str:
        """How the main part spells it."""
        return name

    def state_of(self, routine: Routine) -> list[str]:
        """The parts of the state that a routine and all that it calls need."""
        found = {name for line in routine.lines for name in VARIABLE.findall(CALL.sub("", line))}
        found |= set(VARIABLE.findall(routine.result))
        for line in routine.lines:
            for name, _ in CALL.findall(line):
                found |= set(self.state_of(self.routines[name]))
        return [name for name in STATE if name in found]

    # --- text --------------------------------------------------------------------------------

    def setup(self) -> list[str]:
        """Lines of the main part behind the building of the state."""
        return []

    def body(self, lines: Sequence[str], spell: Callable[[str], str]) -> str:
        """Lines with variables and calls replaced."""
        text = "\n".join(lines)
        text = CALL.sub(lambda m: self.call(m[1], m[2] or "", spell), text)
        return VARIABLE.sub(lambda m: spell(m[1]), text)

    def call(self, name: str, given: str, spell: Callable[[str], str]) -> str:
        """The call of a routine, which is defined when it is first called."""
        self.define(name)
        routine = self.routines[name]
        state = [self.argument(need, spell(need)) for need in self.state_of(routine)]
        return f"${name}({', '.join([*state, *([given] if given else [])])})"

    def argument(self, name: str, value: str) -> str:
        return value

    def define(self, name: str) -> None:
        """Add the function that a routine becomes."""
        if name not in self._calls:
            self._calls[name] = name
            routine = self.routines[name]
            parameters = [self.variable(need) for need in self.state_of(routine)]
            self.layout.define(name, self.function(routine, parameters, self.variable), "engine")

    def function(
        self, routine: Routine, parameters: Sequence[str], spell: Callable[[str], str]
    ) -> str:
        """The text of a function."""
        head = "".join(f"{line}\n" for line in routine.decorators)
        given = ", ".join([*parameters, *routine.parameters])
        rebinds = any("<model> =" in line for line in routine.lines)
        text = self.rebinding if rebinds else ""
        text += self.body(routine.lines, spell)
        result = self.body([routine.result], spell)
        if result:
            text += f"\nreturn {result}"
        return f"{head}def {routine.name}({given}):\n{indent(text, '    ')}\n"


class Arguments(Style):
    """Functions that are given all they need, under names of their own."""

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.own = self.random.choice(
            ({}, {"model": "net"}, {"val_loader": "loader", "model": "m"}, {"optimizer": "opt"})
        )
        self.by_keyword = self.random.random() < 0.2

    def variable(self, name: str) -> str:
        return self.own.get(name, name)

    def argument(self, name: str, value: str) -> str:
        return f"{self.variable(name)}={value}" if self.by_keyword else value

    def call(self, name: str, given: str, spell: Callable[[str], str]) -> str:
        if self.by_keyword and given:
            values = [value.strip() for value in given.split(",")]
            own = self.routines[name].parameters
            given = ", ".join(f"{parameter}={value}" for parameter, value in zip(own, values))
        return super().call(name, given, spell)


class Globals(Style):
    """Functions that use the global model."""

    at_module_level = True
    rebinding = "global model\n"

    def call(self, name: str, given: str, spell: Callable[[str], str]) -> str:
        self.define(name)
        return f"{name}({given})"

    def define(self, name: str) -> None:
        if name not in self._calls:
            self._calls[name] = name
            text = self.function(self.routines[name], (), self.variable)
            self.layout.define(name, text)


class Closures(Style):
    """Functions inside the main function."""

    rebinding = "nonlocal model\n"

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.nested: list[str] = []

    def call(self, name: str, given: str, spell: Callable[[str], str]) -> str:
        self.define(name)
        return f"{name}({given})"

    def define(self, name: str) -> None:
        if name not in self._calls:
            self._calls[name] = name
            self.nested.append(self.function(self.routines[name], (), self.variable))


class Inline(Style):
    """No functions: each routine stands where it is called."""

    def call(self, name: str, given: str, spell: Callable[[str], str]) -> str:
        raise AssertionError("calls are expanded line by line")

    def body(self, lines: Sequence[str], spell: Callable[[str], str]) -> str:
        return VARIABLE.sub(lambda m: spell(m[1]), "\n".join(self._expanded(lines)))

    def _expanded(self, lines: Sequence[str]) -> list[str]:
        found: list[str] = []
        for line in "\n".join(lines).split("\n"):
            match = CALL.search(line)
            if match is None:
                found.append(line)
                continue
            routine = self.routines[match[1]]
            space = line[: len(line) - len(line.lstrip())]
            given = [part.strip() for part in (match[2] or "").split(",") if part.strip()]
            own = [f"{n} = {v}" for n, v in zip(routine.parameters, given) if n != v]
            inner = self._expanded(routine.lines)
            if routine.around:
                inner = [routine.around, *(f"    {each}" for each in inner)]
            found += [f"{space}{each}" for each in (*own, *inner)]
            if routine.result:
                found.append(line.replace(match[0], routine.result))
        return found


class Context(Style):
    """Functions that are given one object, which holds the state."""

    FORMS = ("namespace", "dataclass", "dict", "class")

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.form = self.random.choice(self.FORMS)
        self.name = self.random.choice(("state", "ctx", "cfg"))

    def variable(self, name: str) -> str:
        return f'{self.name}["{name}"]' if self.form == "dict" else f"{self.name}.{name}"

    def in_main(self, name: str) -> str:
        return self.variable(name)

    def call(self, name: str, given: str, spell: Callable[[str], str]) -> str:
        self.define(name)
        return f"${name}({', '.join([self.name, *([given] if given else [])])})"

    def define(self, name: str) -> None:
        if name not in self._calls:
            self._calls[name] = name
            text = self.function(self.routines[name], (self.name,), self.variable)
            self.layout.define(name, text, "engine")

    def setup(self) -> list[str]:
        pairs = ", ".join(f"{name}={name}" for name in STATE)
        if self.form == "namespace":
            return [f"{self.name} = SimpleNamespace({pairs})"]
        if self.form == "dict":
            items = ", ".join(f'"{name}": {name}' for name in STATE)
            return [f"{self.name} = {{{items}}}"]
        if self.form == "dataclass":
            fields = "".join(f"    {name}: object\n" for name in STATE)
            self.layout.define("State", f"@dataclass\nclass State:\n{fields}", "utils")
            return [f"{self.name} = $State({pairs})"]
        self.layout.define("Config", "class Config:\n    pass\n", "utils")
        return [f"{self.name} = $Config()", *(f"{self.name}.{n} = {n}" for n in STATE)]


class Trainer(Style):
    """A class that keeps the state; some routines may be functions beside it."""

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.methods: dict[str, str] = {}
        self.base = self.random.random() < 0.35
        self.attribute = self.random.choice(("model", "net", "_model"))
        self.outside: set[str] = set()
        for name in self.routines:
            if name != "fit" and self.random.random() < 0.2:
                self.outside |= self._with_called(name)

    def _with_called(self, name: str) -> set[str]:
        called = {n for line in self.routines[name].lines for n, _ in CALL.findall(line)}
        return {name}.union(*(self._with_called(each) for each in called))

    def variable(self, name: str) -> str:
        return f"self.{self.attribute if name == 'model' else name}"

    def in_main(self, name: str) -> str:
        return f"trainer.{self.variable(name).removeprefix('self.')}"

    def call(self, name: str, given: str, spell: Callable[[str], str]) -> str:
        if name in self.outside:
            self.define(name)
            state = [spell(need) for need in self.state_of(self.routines[name])]
            return f"${name}({', '.join([*state, *([given] if given else [])])})"
        self.define(name)
        owner = "trainer" if spell == self.in_main else "self"
        return f"{owner}.{name}({given})"

    def define(self, name: str) -> None:
        if name in self._calls:
            return
        self._calls[name] = name
        routine = self.routines[name]
        if name in self.outside:
            text = self.function(routine, self.state_of(routine), lambda need: need)
            self.layout.define(name, text, "engine")
        else:
            self.methods[name] = self.function(routine, ("self",), self.variable)

    def setup(self) -> list[str]:
        return [f"trainer = $Trainer({', '.join(STATE)})"]

    def finish(self) -> None:
        """Add the class, when all of its methods are known."""
        stores = "\n".join(f"        {self.variable(n)} = {n}" for n in STATE)
        start = f"    def __init__(self, {', '.join(STATE)}):\n{stores}\n"
        if not self.base:
            methods = [start, *(indent(text, "    ") for text in self.methods.values())]
            self.layout.define("Trainer", "class Trainer:\n" + "\n".join(methods), "engine")
            return
        hooks = {name: text for name, text in self.methods.items() if name != "fit"}
        abstract = "".join(
            f"    def {name}({', '.join(['self', *self.routines[name].parameters])}):\n"
            "        raise NotImplementedError\n\n"
            for name in hooks
        )
        fit = indent(self.methods.get("fit", ""), "    ")
        base = f"class BaseTrainer:\n{start}\n{abstract}{fit}"
        self.layout.define("BaseTrainer", base, "engine")
        own = "\n".join(indent(text, "    ") for text in hooks.values())
        self.layout.define(
            "Trainer", f"class Trainer($BaseTrainer):\n{own or '    pass'}", "engine"
        )


STYLES = (Arguments, Arguments, Globals, Closures, Inline, Inline, Context, Trainer, Trainer)
