"""Calls of torch and of other packages outside the project."""

from __future__ import annotations

import re

from bnlint.finding import Place
from bnlint.graph import UNKNOWN, Kind, Parameter
from bnlint.records import replace
from bnlint.source.evaluate.averaging import Averaging
from bnlint.source.evaluate.builtins import Builtins
from bnlint.source.evaluate.checkpoints import CHECKPOINTS, Checkpoints
from bnlint.source.evaluate.cloning import clone
from bnlint.source.evaluate.configurations import configuration_method, is_configuration
from bnlint.source.evaluate.core import Core
from bnlint.source.evaluate.domain import Domain, tensors_in
from bnlint.source.evaluate.exports import EXPORTED, Exports
from bnlint.source.evaluate.folding import soft
from bnlint.source.evaluate.known_models import brings_weights, known_model
from bnlint.source.evaluate.launchers import (
    is_launched_backward,
    launcher,
    passed_on,
    passes_on,
)
from bnlint.source.evaluate.module_classes import (
    DISTRIBUTED,
    WRAPPERS,
    parameter_of,
    reachable_modules,
)
from bnlint.source.evaluate.module_methods import ModuleMethods
from bnlint.source.evaluate.sizes import made_up_size
from bnlint.source.evaluate.stochastic_depth import stochastic_depth
from bnlint.source.joining import merge_tensors
from bnlint.source.values import (
    ANYTHING,
    NONE,
    Arguments,
    Frame,
    Group,
    Instance,
    Known,
    Layer,
    Loader,
    Mapping,
    Namespace,
    Parameters,
    Sequence,
    Soft,
    Tensor,
    Value,
    alternatives,
    flat,
    hard,
    is_exact,
    items_of,
)
from bnlint.torchnames import CONTAINERS, TABLE, canonical, lookup
from bnlint.trace import Mode

GRADIENT_CONTEXTS = {
    "torch.no_grad": False,
    "torch.inference_mode": False,
    "torch.autograd.no_grad": False,
    "torch.autograd.inference_mode": False,
    "torch.autograd.grad_mode.no_grad": False,
    "torch.enable_grad": True,
    "torch.autograd.enable_grad": True,
}
SET_GRADIENT = frozenset({"torch.set_grad_enabled", "torch.autograd.set_grad_enabled"})
MADE_UP = frozenset(
    f"torch.{name}"
    for name in (
        "randn rand zeros ones empty full randint arange linspace randn_like rand_like zeros_like "
        "ones_like"
    ).split()
)
BY_SIZES = frozenset({"torch.FloatTensor", "torch.Tensor", "torch.cuda.FloatTensor"})
"""Made up when they are given sizes; given values, they hold these."""
SAME_MODULE = frozenset(
    {"torch.compile", "torch.jit.script", "torch.jit.optimize_for_inference",
     "torch.nn.utils.weight_norm", "torch.nn.utils.spectral_norm",
     "torch.nn.utils.parametrizations.weight_norm",
     "torch.nn.utils.parametrizations.spectral_norm"}
)  # fmt: skip
SYNC_NORMS = frozenset({"convert_sync_batchnorm", "convert_syncbn_model"})
"""Functions of torch, apex, timm ... that replace the BatchNorm layers below a module."""
NEVER_TRUE = frozenset({"torch.jit.is_scripting", "torch.jit.is_tracing"})
"""What a plain run of Python answers."""
NEUTRAL_PACKAGES = frozenset(
    (
        "builtins torch math os sys json time logging numpy copy functools itertools collections "
        "typing types warnings random re pathlib pickle inspect munch operator torchsummary "
        "torchviz wandb tensorboardX tensorboard pandas matplotlib PIL cv2 scipy sklearn "
        "accelerate apex thop torchinfo fvcore clearml comet_ml mlflow safetensors torchmetrics "
        "horovod"
    ).split()
)
"""Packages whose functions leave the mode of a module alone."""
FLAGS = {"store_true": False, "store_false": True}
"""Actions of argparse, and what an option is where it is not given."""
_LAYER_NAME = re.compile(r"^torch\.nn\.[A-Z]\w*$")


VARIABLES = frozenset({"torch.autograd.Variable", "torch.autograd.variable.Variable"})


class TorchCalls(ModuleMethods, Builtins, Checkpoints, Exports, Averaging, Core):
    """Calls by qualified name."""

    domain: Domain

    def call_external(self, name: str, arguments: Arguments, frame: Frame) -> Value:
        """Call something outside the project by its qualified name."""
        name = canonical(name)
        answered = self.call_builtin(name, arguments, frame)
        if answered is not None:
            return answered
        if name in CONTAINERS or (_LAYER_NAME.match(name) and name not in WRAPPERS):
            return NONE if name == "torch.nn.Parameter" else self.build_layer(name, arguments)
        if name.startswith("torch.nn.Module."):
            return self._unbound_method(name.rpartition(".")[2], arguments, frame)
        special = self._special(name, arguments, frame)
        if special is not None:
            return special
        if name in TABLE or name.startswith("operator."):
            return self.operate(name, arguments, frame)
        return self._unknown_external(name, arguments, frame)

    def _special(self, name: str, arguments: Arguments, frame: Frame) -> Value | None:
        first = arguments.positional[0] if arguments.positional else None
        if name in GRADIENT_CONTEXTS or name in SET_GRADIENT:
            return self._gradient(name, arguments)
        if name in MADE_UP or (name in BY_SIZES and _are_sizes(arguments)):
            batch, dimensions = made_up_size(name, arguments)
            return Tensor(synthetic=True, batch=batch, dimensions=dimensions)
        if name in VARIABLES and self.truth(arguments.keywords.get("volatile", NONE)):
            return replace(merge_tensors(tensors_in([first or ANYTHING])), volatile=True)
        if name in WRAPPERS:
            return self._wrap(name, arguments.get(0, "module") or ANYTHING, arguments)
        if name in SAME_MODULE:
            return arguments.get(0, "module") or first or ANYTHING
        if name.rpartition(".")[2] in SYNC_NORMS:
            module = arguments.get(0, "module") or ANYTHING
            self.sync_norms(module, arguments)
            return module
        if name in CHECKPOINTS:
            return self.call_checkpointed(name, arguments, frame)
        if passes_on(name):
            return passed_on(arguments)
        if is_launched_backward(name):
            return self.call_method(ANYTHING, "backward", arguments, frame)
        if name in NEVER_TRUE:
            return Known(False)
        if name == "torch.is_grad_enabled":
            return self.is_training()
        if name == "copy.deepcopy":
            return self._deepcopy(first or ANYTHING, arguments)
        if name == "torch.utils.data.DataLoader":
            return self._loader(arguments)
        averaged = self.call_averaging(name, arguments)
        if averaged is not None:
            return averaged
        if name.startswith("torch.optim.") and name.rpartition(".")[2][:1].isupper():
            return self._optimizer(name, arguments)
        exported = self.call_export(name, arguments)
        if exported is not None:
            return exported
        known = known_model(self, name, arguments) or stochastic_depth(self, name, arguments)
        if known is not None:
            if brings_weights(name, arguments):
                self.domain_pretrained(known, arguments.place)
            return known
        if name in ("torch.device", "torch.manual_seed"):
            return ANYTHING
        return launcher(name)

    def _unbound_method(self, method: str, arguments: Arguments, frame: Frame) -> Value:
        """`nn.Module.__init__(self)` and the like."""
        if not arguments.positional:
            return ANYTHING
        receiver, *rest = arguments.positional
        bound = Arguments(list(rest), arguments.keywords, arguments.unknown, arguments.place)
        if method == "__init__" and isinstance(receiver, Instance):
            self.initialize_external(receiver, bound)
            return NONE
        if isinstance(receiver, Instance | Layer):
            return self.module_method(receiver, method, bound, frame)
        return ANYTHING

    def _gradient(self, name: str, arguments: Arguments) -> Value:
        enabled: bool | None = GRADIENT_CONTEXTS.get(name)
        if name in SET_GRADIENT:
            enabled = self.truth(arguments.get(0, "mode") or ANYTHING)
        context = Namespace("gradient")
        context.fields["enabled"] = Known(enabled)
        context.fields["place"] = arguments.place
        context.fields["immediate"] = name in SET_GRADIENT
        return context

    def _wrap(self, name: str, module: Value, arguments: Arguments) -> Value:
        if module is ANYTHING:
            return ANYTHING
        wrapper = Layer(name, {}, arguments.place)
        wrapper.fields["module"] = module
        self.holder_created(wrapper)
        if name in DISTRIBUTED:
            self.distribute(module, arguments)
        return wrapper

    def _deepcopy(self, value: Value, arguments: Arguments) -> Value:
        modules = list(reachable_modules(value))
        if not modules:
            return value
        copied = clone(value)
        for original, copy in zip(modules, reachable_modules(copied)):
            self.copy_mode(original, copy, arguments.place)
        return copied

    def _loader(self, arguments: Arguments) -> Value:
        batch = arguments.get(1, "batch_size")
        sampler = arguments.keywords.get("batch_sampler")
        assert arguments.place is not None
        place = _beginning(arguments.place)
        if (sampler is not None and sampler != NONE) or batch == NONE:
            return Loader(None, place)
        size = hard(Known(1) if batch is None and not arguments.unknown else batch or ANYTHING)
        number = size.value if isinstance(size, Known) and type(size.value) is int else None
        drops = arguments.get(8, "drop_last")
        if drops is None:
            drops = ANYTHING if arguments.unknown else Known(False)
        if arguments.get(6, "collate_fn") not in (None, NONE):
            drops = ANYTHING  # an item may be many rows: all nodes of a graph
        dropped = self.truth(drops)
        keeps_rest = None if dropped is None else not dropped
        return Loader(number, place, batch.place if isinstance(batch, Soft) else None, keeps_rest)

    def _optimizer(self, name: str, arguments: Arguments) -> Value:
        first = arguments.get(0, "params") or ANYTHING
        if ".lr_scheduler." in name:
            return Namespace("scheduler")
        owners: list[Value] = []
        _collect_owners(self, first, owners, 4)
        return Parameters(tuple(owners), is_optimizer=True)

    def _unknown_external(self, name: str, arguments: Arguments, frame: Frame) -> Value:
        package = name.partition(".")[0]
        if package not in NEUTRAL_PACKAGES:
            self.forget_modes(arguments)
        return self.call_opaque(name, arguments, frame)

    def forget_modes(self, arguments: Arguments) -> None:
        """A call that cannot be seen may have set the mode of every module it was given."""
        if not (arguments.positional or arguments.keywords):
            return
        modules = tuple([m for value in arguments.all() for m in reachable_modules(value)])
        if modules:
            self.emit_mode(modules, Mode.UNKNOWN, arguments.place, "a call that cannot be seen")

    def not_followed(self, arguments: Arguments) -> None:
        """A call is not followed: what it does to its arguments is unknown."""
        self.forget_modes(arguments)

    def layer_parameters(self, name: str, arguments: Arguments) -> dict[str, Parameter]:
        """The constructor parameters of a torch layer, folded where possible."""
        entry = lookup(name)
        positional = [parameter_of(value) for value in arguments.positional]
        keywords = {key: parameter_of(value) for key, value in arguments.keywords.items()}
        if entry is None or not is_exact(arguments.positional):
            return keywords
        bound = entry.bind(tuple(positional), keywords)
        if arguments.unknown:
            given = {n for (n, _), _ in zip(entry.parameters, positional)} | set(keywords)
            return {n: v if n in given else UNKNOWN for n, v in bound.items()}
        return bound

    # --- argparse ----------------------------------------------------------------------------

    def namespace_method(
        self, value: Namespace, name: str, arguments: Arguments, frame: Frame
    ) -> Value:
        """A method of an argument parser or its result, a configuration, an exported program."""
        if value.kind == EXPORTED:
            return self.program_method(value, name, arguments)
        if is_configuration(value):
            return configuration_method(value, name, arguments)
        if value.kind == "parser":
            match name:
                case "add_argument":
                    self._add_option(value, arguments)
                    return ANYTHING
                case "add_argument_group" | "add_mutually_exclusive_group":
                    return value
                case "parse_args":
                    return self._options(value)
                case "parse_known_args":
                    return Sequence("tuple", (self._options(value), ANYTHING))
                case "set_defaults":
                    for key, default in arguments.keywords.items():
                        self.store.write(value, key, soft(default))
        return ANYTHING

    def _add_option(self, parser: Namespace, arguments: Arguments) -> None:
        names = [hard(v) for v in arguments.positional]
        texts = [n.value for n in names if isinstance(n, Known) and isinstance(n.value, str)]
        long = next((t for t in texts if t.startswith("--")), texts[-1] if texts else "")
        destination = hard(
            arguments.keywords.get("dest", Known(long.lstrip("-").replace("-", "_")))
        )
        default = arguments.keywords.get("default")
        action = hard(arguments.keywords.get("action", NONE))
        unset = FLAGS.get(str(action.value)) if isinstance(action, Known) else None
        if default is None:
            default = Known(unset)
        if isinstance(destination, Known) and isinstance(destination.value, str):
            open_value = ANYTHING if default == NONE else soft(default, arguments.place)
            if unset is not None and default == Known(not unset):
                open_value = default  # `store_true` with the default True: no option changes it
            self.store.write(parser, destination.value, open_value)

    def _options(self, parser: Namespace) -> Value:
        options = Namespace("options")
        options.fields.update(parser.fields)
        return options


def writes_in_place(name: str, arguments: Arguments) -> bool:
    """Whether a torch function writes to its first argument: `relu_(x)`, `relu(x, inplace=True)`,
    `relu(x, True)`."""
    last = name.rpartition(".")[2]
    if last.endswith("_") and not last.endswith("__"):
        return True
    entry = lookup(name)
    if entry is None or entry.kind not in (Kind.ACTIVATION, Kind.GATE, Kind.DROPOUT):
        return False
    names = [parameter for parameter, _ in entry.parameters]
    position = names.index("inplace") if "inplace" in names else -1
    return hard(arguments.get(position, "inplace") or NONE) == Known(True)


def _collect_owners(machine: Core, value: object, owners: list[Value], depth: int) -> None:
    """The modules whose parameters a value holds."""
    for single in alternatives(value):  # type: ignore[arg-type]
        if isinstance(single, Parameters):
            owners += single.owners
        elif isinstance(single, Mapping) and depth:
            for entry in single.fields.values():
                _collect_owners(machine, entry, owners, depth - 1)
        elif isinstance(single, Sequence) and depth:
            for element in flat(items_of(single)):
                _collect_owners(machine, element, owners, depth - 1)
        elif isinstance(single, Instance | Layer | Group):
            owners.append(single)


def _beginning(place: Place) -> Place:
    """Where a call over several lines begins: the next loader may stand right below it."""
    if place.end_line <= place.line:
        return place
    return replace(place, end_line=place.line, end_column=place.column)


def _are_sizes(arguments: Arguments) -> bool:
    """Whether all arguments are known integers."""
    values = [hard(value) for value in arguments.positional]
    return bool(values) and all(isinstance(v, Known) and type(v.value) is int for v in values)
