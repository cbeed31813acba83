"""What a program does to data and modules: the part of interpretation in which the layer graph
and the mode trace differ. The base class follows values and draws nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from bnlint.finding import Place
from bnlint.source import ir
from bnlint.source.joining import merge_tensors
from bnlint.source.values import (
    ANYTHING,
    Alternatives,
    Arguments,
    ClassObject,
    Frame,
    Instance,
    Layer,
    Mapping,
    Method,
    Parameters,
    Tensor,
    Value,
    alternatives,
    flat,
    items_of,
)
from bnlint.source.values import Sequence as SequenceValue
from bnlint.trace import Mode, Note

if TYPE_CHECKING:
    from bnlint.source.evaluate.interpreter import Interpreter


PREDICTIONS = frozenset(
    "argmax max topk argsort round accuracy_score balanced_accuracy_score f1_score precision_score "
    "recall_score roc_auc_score roc_curve average_precision_score precision_recall_curve "
    "confusion_matrix classification_report cohen_kappa_score jaccard_score r2_score "
    "mean_squared_error mean_absolute_error fit_transform fit_predict kneighbors silhouette_score "
    "normalized_mutual_info_score adjusted_rand_score".split()
)
"""Functions by which the output of a model becomes a prediction, and those that measure one."""


class Domain:
    """Follows tensors through calls; draws nothing."""

    draws_layers: ClassVar[bool] = False
    """Whether a layer graph is drawn, not a trace."""
    takes_defaults: bool = False
    """Whether the default of an option decides, as if nobody ever changed it."""
    is_trace: bool = False
    """Whether `model.forward(x)` is noted as `model(x)` is, and not followed inside."""

    @property
    def size(self) -> int:
        """How much has been drawn."""
        return 0

    def is_training(self) -> Value:
        """What `module.training`, `x.requires_grad` and `torch.is_grad_enabled()` are."""
        return ANYTHING

    def call_module(
        self, machine: Interpreter, module: Value, arguments: Arguments, frame: Frame
    ) -> Value:
        """`module(arguments)` for an nn.Module object."""
        return merge_tensors(tensors_in(arguments.all()))

    def call_torch(
        self, machine: Interpreter, module: Value, arguments: Arguments, frame: Frame
    ) -> Value:
        """The forward of torch's own class: by `super().forward(x)`, or for want of another."""
        return merge_tensors(tensors_in(arguments.all()))

    def operation(
        self, machine: Interpreter, name: str, arguments: Arguments, frame: Frame
    ) -> Value:
        """A torch function or tensor method, or an operator, applied to tensors."""
        return merge_tensors(tensors_in(arguments.all()))

    def comparison(
        self, machine: Interpreter, operator: str, left: Value, right: Value, place: Place
    ) -> Value:
        """`left < right` for tensors."""
        return ANYTHING

    def unknown_call(
        self, machine: Interpreter, name: str, arguments: Arguments, frame: Frame
    ) -> Value:
        """A call that cannot be seen; its result depends on the tensors given."""
        tensors = list(tensors_in(arguments.all()))
        return merge_tensors(tensors) if tensors else ANYTHING

    def numbers_read(
        self, machine: Interpreter, tensors: Iterable[Tensor], place: Place | None
    ) -> None:
        """Plain numbers are made of tensors: `loss.item()`, `float(loss)`."""

    def wrote(self, machine: Interpreter, target: Value, result: Value) -> None:
        """A result was calculated in the memory of a target: `x += y`."""

    def created(self, machine: Interpreter, module: Layer | Instance) -> None:
        """A torch layer, or a project class that derives from one, has been built."""

    @contextmanager
    def constructing(
        self, machine: Interpreter, cls: ClassObject, arguments: Arguments
    ) -> Iterator[None]:
        """Around the constructor of a project class."""
        yield

    def set_mode(
        self,
        machine: Interpreter,
        modules: Sequence[Value],
        mode: Mode,
        place: Place | None,
        how: str,
        note: Note | None = None,
        apart: tuple[Value, ...] = (),
    ) -> None:
        """These modules, and all below them but what stands apart, are set to a mode, or to one
        that was noted."""

    def read_mode(self, machine: Interpreter, module: Value) -> Note | None:
        """A module's training flag is read; what refers to it later."""
        return None

    def contains(self, machine: Interpreter, container: Layer | Instance) -> None:
        """A module that only holds others has been built: a Sequential, a wrapper."""

    def copied(
        self, machine: Interpreter, original: Value, copy: Value, place: Place | None
    ) -> None:
        """A module has been copied; the copy has the mode of the original."""

    def freeze(
        self, machine: Interpreter, parameters: Parameters, frozen: bool | None, place: Place | None
    ) -> None:
        """`parameter.requires_grad = not frozen`; None: nobody knows which."""

    def set_training_flag(
        self,
        machine: Interpreter,
        module: Value,
        mode: Mode,
        place: Place,
        note: Note | None = None,
    ) -> None:
        """`module.training = flag`: the one module only."""

    def backward(
        self, machine: Interpreter, tensors: Iterable[Tensor], place: Place | None
    ) -> None:
        """Gradients flow back from these tensors."""

    def step(self, machine: Interpreter, optimizer: Parameters | None, place: Place | None) -> None:
        """An optimizer step."""

    def load_state(self, machine: Interpreter, module: Value, place: Place | None) -> None:
        """Weights are loaded into a module."""

    def pretrained(self, machine: Interpreter, module: Value, place: Place | None) -> None:
        """A module was built with trained weights."""

    def export(
        self, machine: Interpreter, module: Value, how: str, program: Value, arguments: Arguments
    ) -> None:
        """A module is exported by a call with these arguments; `program` is what comes out."""

    def program_saved(self, machine: Interpreter, program: Value, place: Place | None) -> None:
        """An exported program is written away."""

    def program_dropped(self, machine: Interpreter, program: Value) -> None:
        """Nobody uses an exported program."""

    def averaged(self, machine: Interpreter, module: Value, place: Place | None) -> None:
        """A module takes the average of the weights of another, but not of its statistics."""

    def recalibrated(self, machine: Interpreter, module: Value, place: Place | None) -> None:
        """The running statistics of a module are estimated anew."""

    def prepare_training(self, machine: Interpreter, place: Place | None) -> None:
        """What was exported or fused is prepared to be trained further."""

    def fitted(self, machine: Interpreter, module: Value, place: Place | None) -> None:
        """A framework trains a module."""

    def distribute(self, machine: Interpreter, module: Value, place: Place | None) -> None:
        """A module is wrapped to be trained by several processes."""

    def sync_norms(self, machine: Interpreter, module: Value, place: Place | None) -> None:
        """The BatchNorm layers of a module are converted to synchronised ones."""

    def statement(self, machine: Interpreter, value: Value, place: Place) -> None:
        """The value of an expression statement at `place` is dropped."""

    def mode_not_called(
        self, machine: Interpreter, receiver: Value, expression: ir.Attribute, place: Place
    ) -> None:
        """`model.eval` as a statement."""


def sources_in(value: Value) -> bool:
    """Whether a value is, or holds, data that layers have made."""
    return any(tensor.sources for tensor in tensors_in([value]))


def tensors_in(values: Iterable[object], depth: int = 4) -> list[Tensor]:
    """The tensors among values, also in lists and dictionaries."""
    found: list[Tensor] = []
    for value in values:
        kind = type(value)
        if kind is Tensor:
            found.append(value)  # type: ignore[arg-type]  # which it is
        elif kind in _MAY_HOLD_TENSORS:
            for single in alternatives(value):  # type: ignore[arg-type]
                if type(single) is Method:
                    single = single.receiver
                if type(single) is Tensor:
                    found.append(single)
                elif depth and type(single) is SequenceValue:
                    found += tensors_in(flat(items_of(single)), depth - 1)
                elif depth and type(single) is Mapping:
                    found += tensors_in(single.fields.values(), depth - 1)
    return found


_MAY_HOLD_TENSORS = frozenset({Alternatives, Method, SequenceValue, Mapping})
