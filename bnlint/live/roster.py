"""The mode-sensitive layers of a watched model, and what can be read off them at any moment."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from bnlint.graph import Kind
from bnlint.live.modules import (
    Names,
    is_frozen,
    outermost_scripted,
    scripted_norms,
    torch_class,
    unwrap,
)
from bnlint.live.places import Places
from bnlint.records import replace
from bnlint.trace import SensitiveLayer


@dataclass(frozen=True, slots=True)
class Entry:
    """One BatchNorm or Dropout layer; index: its place in the roster, and its id in a trace."""

    index: int
    module: nn.Module
    kind: Kind
    name: str
    path: str


class Roster:
    """The BatchNorm and Dropout layers of a model in the order of registration.

    It grows when a layer turns up that was not registered before.
    """

    def __init__(self, model: nn.Module) -> None:
        self.root = unwrap(model)
        self.names = Names(self.root)
        self.entries: list[Entry] = []
        self._places = Places()
        self._known: dict[int, Entry] = {}
        self._members = {id(module): module for module in (*model.modules(), *self.root.modules())}
        self._kinds: dict[type, tuple[Kind, str] | None] = {}
        for path, module in self.root.named_modules():
            self._enter(module, path.replace("_orig_mod.", ""))

    def __contains__(self, module: nn.Module) -> bool:
        """Whether the module belongs to the watched model (its wrappers included)."""
        return self._members.get(id(module)) is module

    def entry(self, module: nn.Module, parent: str) -> Entry | None:
        """The layer that a running module is; None for one that the mode does not change.

        parent: the path of what calls it, for a layer that nobody has registered.
        """
        if self._sensitive(type(module)) is None:
            return None
        known = self._known.get(id(module))
        if known is not None and known.module is module:
            return known
        return self._enter(module, self.names.path(module, parent))

    def _enter(self, module: nn.Module, path: str) -> Entry | None:
        sensitive = self._sensitive(type(module))
        if sensitive is None:
            return None
        entry = Entry(len(self.entries), module, *sensitive, path)
        self.entries.append(entry)
        self._known[id(module)] = entry
        return entry

    def _sensitive(self, cls: type) -> tuple[Kind, str] | None:
        try:
            return self._kinds[cls]
        except KeyError:
            found = self._kinds[cls] = _kind_of(cls)
            return found

    @property
    def norms(self) -> list[Entry]:
        """The BatchNorm layers."""
        return [entry for entry in self.entries if entry.kind is Kind.BATCHNORM]

    @property
    def scripted(self) -> list[str]:
        """The names of parts that are compiled TorchScript with BatchNorm inside."""
        return [path for path, m in outermost_scripted(self.root) if scripted_norms(m)]

    def below(self, module: nn.Module) -> frozenset[int]:
        """The layers that a part of the model holds."""
        return frozenset(
            entry.index for part in module.modules() if (entry := self._known.get(id(part)))
        )

    def modes(self) -> tuple[bool, ...]:
        """The training flag of each layer."""
        return tuple([entry.module.training for entry in self.entries])

    def frozen(self) -> frozenset[int]:
        """The BatchNorm layers with running statistics whose scale and shift do not learn."""
        return frozenset(entry.index for entry in self.norms if is_frozen(entry.module))

    def statistics(self) -> list[Tensor]:
        """The running means and variances of all layers that track them."""
        found = (getattr(e.module, n, None) for e in self.norms for n in _STATISTICS)
        return [tensor for tensor in found if isinstance(tensor, Tensor)]

    def layer(self, index: int, positions: int | None) -> SensitiveLayer:
        """A layer as a trace knows it."""
        entry = self.entries[index]
        layer = SensitiveLayer(index, entry.kind, entry.name, entry.path, None, positions)
        return replace(layer, place=self._places.of_layer(self._holders(entry), entry.path))

    def _holders(self, entry: Entry) -> list[tuple[nn.Module, str]]:
        holders = [(self.root, "")]
        parts = entry.path.split(".")
        for length in range(1, len(parts)):
            path = ".".join(parts[:length])
            try:
                holders.append((self.root.get_submodule(path), path))
            except AttributeError:  # a layer that is not registered, or inside a wrapper
                break
        return holders


_STATISTICS = ("running_mean", "running_var")


def _kind_of(cls: type) -> tuple[Kind, str] | None:
    known = torch_class(cls)
    if known is None or known[0].kind not in (Kind.BATCHNORM, Kind.DROPOUT):
        return None
    return known[0].kind, known[0].name
