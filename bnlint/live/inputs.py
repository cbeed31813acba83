"""The inputs of a check: brought into one form, or made up from the model's first layers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader

from bnlint.graph import Kind
from bnlint.live.errors import CheckError
from bnlint.live.modules import torch_entry
from bnlint.live.tensors import batch_size, map_tensors, tensors_in

SYNTHETIC_BATCH = 8
"""Samples in made-up inputs."""

IMAGE_SIZES = (32, 64, 224, 299, 28)
VOLUME_SIZES = (16, 32, 64)
SEQUENCE_LENGTHS = (128, 1024, 16000, 32)


@dataclass(frozen=True, slots=True)
class Loading:
    """How a loader cuts its data into batches.

    batch: samples in a batch; last: samples in the last one, None when unknown; keeps_rest: whether
    what is left over is handed out as a smaller last batch.
    """

    batch: int
    last: int | None
    keeps_rest: bool


@dataclass(frozen=True)
class Inputs:
    """The arguments of one forward. loading: how the loader that they come from makes batches."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    synthetic: bool = False
    loading: Loading | None = None

    @property
    def batch(self) -> int | None:
        """Samples in the batch."""
        return batch_size((self.args, dict(self.kwargs)))

    def map(self, change: Callable[[Tensor], Tensor]) -> Inputs:
        """The same arguments with every tensor changed."""
        kwargs = map_tensors(dict(self.kwargs), change)
        return replace(self, args=map_tensors(self.args, change), kwargs=kwargs)

    def halves(self, fewest: int) -> tuple[Inputs, Inputs] | None:
        """The first and the second half of the batch; None where it has less than `fewest`."""
        batch = self.batch
        if batch is None or batch < fewest:
            return None
        middle = batch // 2

        def first(tensor: Tensor) -> Tensor:
            return tensor[:middle] if tensor.dim() and len(tensor) == batch else tensor

        def second(tensor: Tensor) -> Tensor:
            return tensor[middle:] if tensor.dim() and len(tensor) == batch else tensor

        return self.map(first), self.map(second)


def normalise(
    model: nn.Module, value: Any, device: torch.device | None, batches: int = 1
) -> list[Inputs]:
    """The user's inputs as arguments on the right device: one entry for each batch.

    A tensor is the only argument, a tuple or list holds the positional ones, a dictionary the
    keyword ones; of a loader the first `batches` batches are taken, less what forward does not ask
    for. Raises CheckError for anything else, and for a batch without samples.
    """
    given = _arguments(model, value, batches)
    target = device or device_of(model)
    for inputs in given:
        if next(tensors_in((inputs.args, dict(inputs.kwargs))), None) is None:
            raise CheckError(
                "the inputs hold no tensor: pass a tensor, a tuple, a dict or a loader"
            )
        if inputs.batch == 0:
            raise CheckError("the batch is empty: pass at least one sample")
    return [inputs.map(lambda tensor: tensor.to(target)) for inputs in given]


def _arguments(model: nn.Module, value: Any, batches: int) -> list[Inputs]:
    if isinstance(value, Inputs):
        return [value]
    if isinstance(value, Tensor):
        return [Inputs((value,))]
    if isinstance(value, Mapping):
        return [Inputs((), dict(value))]
    if isinstance(value, (tuple, list)):
        return [Inputs(tuple(value))]
    if isinstance(value, Iterable):
        loading = loading_of(value)
        return [
            replace(_of_loader(model, batch), loading=loading) for batch in _first(value, batches)
        ]
    raise CheckError(
        f"inputs of type {type(value).__name__}: pass a tensor, a tuple, a dict or a loader"
    )


def _of_loader(model: nn.Module, batch: Any) -> Inputs:
    accepted, variadic = _parameters(model)
    if isinstance(batch, Mapping):
        wanted = {k: v for k, v in batch.items() if variadic or k in accepted}
        return Inputs((), wanted) if wanted else Inputs((dict(batch),))
    if isinstance(batch, (tuple, list)):
        return Inputs(tuple(batch[: max(len(_required(model)), 1)]))
    return Inputs((batch,))


def _first(loader: Iterable[Any], batches: int) -> list[Any]:
    """The first batches of a loader, whose generator is put back afterwards."""
    generator = getattr(loader, "generator", None)
    state = generator.get_state() if isinstance(generator, torch.Generator) else None
    try:
        found = list(islice(loader, batches))
    finally:
        if state is not None and generator is not None:
            generator.set_state(state)
    if not found:
        raise CheckError("the loader gives no batch: pass one that is not empty")
    return found


def loading_of(loader: object) -> Loading | None:
    """How a DataLoader cuts its data into batches; None where that cannot be known."""
    if not isinstance(loader, DataLoader) or type(loader.batch_sampler) is not BatchSampler:
        return None
    size, drops = loader.batch_sampler.batch_size, loader.batch_sampler.drop_last
    try:
        total = len(loader.batch_sampler.sampler)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return Loading(size, None, not drops)  # a stream does not know its length
    if drops:
        return Loading(size, size if total >= size else None, keeps_rest=False)
    return Loading(size, total % size or size if total else None, keeps_rest=True)


def _signature(model: nn.Module) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return []


def _parameters(model: nn.Module) -> tuple[set[str], bool]:
    """The names that forward accepts, and whether it accepts any."""
    parameters = _signature(model)
    variadic = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    return {p.name for p in parameters}, variadic


def _required(model: nn.Module) -> list[str]:
    """The arguments that forward cannot do without."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in _signature(model) if p.kind in positional and p.default is p.empty]


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's first parameter or buffer; the CPU where there is none."""
    tensor = next(chain(model.parameters(), model.buffers()), None)
    return tensor.device if tensor is not None else torch.device("cpu")


def candidates(model: nn.Module) -> Iterator[Inputs]:
    """Made-up inputs that may fit the model, the likeliest first.

    Drawn from the first layers in the order of registration; each argument that forward requires
    gets the same.
    """
    arguments = max(len(_required(model)), 1)
    device, dtype = device_of(model), _dtype_of(model)
    for layer in _first_layers(model):
        for shape in _shapes(layer):
            tensor = _made_up(layer, shape, device, dtype)
            yield Inputs(tuple(tensor.clone() for _ in range(arguments)), synthetic=True)


def _dtype_of(model: nn.Module) -> torch.dtype:
    floating = (p.dtype for p in model.parameters() if p.is_floating_point())
    return next(floating, torch.float32)


def _first_layers(model: nn.Module) -> list[nn.Module]:
    """The first layer of each kind that decides what an input looks like."""
    deciding = (Kind.CONV, Kind.LINEAR, Kind.EMBEDDING, Kind.RECURRENT, Kind.BATCHNORM)
    found: dict[Kind, nn.Module] = {}
    for module in model.modules():
        entry = torch_entry(module)
        if entry is not None and entry.kind in deciding:
            found.setdefault(entry.kind, module)
    return list(found.values())


def _shapes(layer: nn.Module) -> Iterator[tuple[int, ...]]:
    entry = torch_entry(layer)
    name = entry.name.rpartition(".")[2] if entry else ""
    match entry.kind if entry else None:
        case Kind.CONV:
            yield from _spatial(int(layer.in_channels), name)  # type: ignore[arg-type]
        case Kind.BATCHNORM:
            channels = int(layer.num_features)  # type: ignore[arg-type]
            if name.endswith("1d"):
                yield (SYNTHETIC_BATCH, channels)
            yield from _spatial(channels, name)
        case Kind.EMBEDDING:
            yield (SYNTHETIC_BATCH, 16)
            yield (SYNTHETIC_BATCH,)
        case Kind.LINEAR:
            features = int(layer.in_features)  # type: ignore[arg-type]
            yield (SYNTHETIC_BATCH, features)
            yield (SYNTHETIC_BATCH, 16, features)
            yield from _images_of(features)
        case Kind.RECURRENT:
            yield (SYNTHETIC_BATCH, 16, int(layer.input_size))  # type: ignore[arg-type]


def _spatial(channels: int, name: str) -> Iterator[tuple[int, ...]]:
    if name.endswith("1d"):
        for length in SEQUENCE_LENGTHS:
            yield (SYNTHETIC_BATCH, channels, length)
        return
    if name.endswith("3d"):
        for size in VOLUME_SIZES:
            yield (SYNTHETIC_BATCH, channels, size, size, size)
        return
    for size in IMAGE_SIZES:
        yield (SYNTHETIC_BATCH, channels, size, size)


def _images_of(features: int) -> Iterator[tuple[int, ...]]:
    """Square images that flatten to this many features."""
    for channels in (1, 3):
        side = round((features / channels) ** 0.5)
        if features and channels * side * side == features:
            yield (SYNTHETIC_BATCH, channels, side, side)


def _made_up(
    layer: nn.Module, shape: Sequence[int], device: torch.device, dtype: torch.dtype
) -> Tensor:
    entry = torch_entry(layer)
    if entry is not None and entry.kind is Kind.EMBEDDING:
        rows = int(layer.num_embeddings)  # type: ignore[arg-type]
        return torch.randint(rows, tuple(shape), device=device)
    return torch.randn(tuple(shape), device=device, dtype=dtype)
