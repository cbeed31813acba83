"""The one table from torch names to kinds and constructor parameters.

`nn.ReLU`, `F.relu`, `torch.relu` and `Tensor.relu` are all an ACTIVATION. Both front ends look
names up here, so a layer that one half knows the other knows too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from bnlint.graph import UNKNOWN, Kind, Parameter
from bnlint.records import Struct


class TorchName(Struct, frozen=True):
    """One torch class or function.

    parameters: names and defaults in positional order; UNKNOWN marks a required parameter.
    """

    name: str
    kind: Kind
    parameters: tuple[tuple[str, Parameter], ...] = ()

    def bind(
        self, arguments: tuple[Parameter, ...], keywords: Mapping[str, Parameter]
    ) -> dict[str, Parameter]:
        """Parameters by name: the arguments given, torch's defaults for the rest.

        Surplus positional arguments are dropped; unknown keywords are kept.
        """
        bound = dict(self.parameters)
        bound.update(zip(bound, arguments))
        bound.update(keywords)
        return bound


_NORM: Final[tuple[tuple[str, Parameter], ...]] = (
    ("num_features", UNKNOWN),
    ("eps", 1e-5),
    ("momentum", 0.1),
    ("affine", True),
    ("track_running_stats", True),
)
_LAZY_NORM: Final = _NORM[1:]
_SYNC_NORM: Final = (*_NORM, ("process_group", None))
_INSTANCE_NORM: Final = (*_NORM[:3], ("affine", False), ("track_running_stats", False))
_CONV: Final[tuple[tuple[str, Parameter], ...]] = (
    ("in_channels", UNKNOWN),
    ("out_channels", UNKNOWN),
    ("kernel_size", UNKNOWN),
    ("stride", 1),
    ("padding", 0),
    ("dilation", 1),
    ("groups", 1),
    ("bias", True),
    ("padding_mode", "zeros"),
)
_CONV_TRANSPOSE: Final[tuple[tuple[str, Parameter], ...]] = (
    *_CONV[:5],
    ("output_padding", 0),
    ("groups", 1),
    ("bias", True),
    ("dilation", 1),
    ("padding_mode", "zeros"),
)
_LINEAR: Final[tuple[tuple[str, Parameter], ...]] = (
    ("in_features", UNKNOWN),
    ("out_features", UNKNOWN),
    ("bias", True),
)
_BILINEAR: Final[tuple[tuple[str, Parameter], ...]] = (
    ("in1_features", UNKNOWN),
    ("in2_features", UNKNOWN),
    *_LINEAR[1:],
)
_DROPOUT: Final[tuple[tuple[str, Parameter], ...]] = (("p", 0.5), ("inplace", False))
_F_DROPOUT: Final[tuple[tuple[str, Parameter], ...]] = (
    ("input", UNKNOWN),
    ("p", 0.5),
    ("training", True),
    ("inplace", False),
)
_F_BATCH_NORM: Final[tuple[tuple[str, Parameter], ...]] = (
    ("input", UNKNOWN),
    ("running_mean", UNKNOWN),
    ("running_var", UNKNOWN),
    ("weight", None),
    ("bias", None),
    ("training", False),
    ("momentum", 0.1),
    ("eps", 1e-5),
)
_FLATTEN: Final[tuple[tuple[str, Parameter], ...]] = (("start_dim", 1), ("end_dim", -1))
_F_FLATTEN: Final[tuple[tuple[str, Parameter], ...]] = (
    ("input", UNKNOWN),
    ("start_dim", 0),
    ("end_dim", -1),
)
_DATA: Final[tuple[str, Parameter]] = ("input", UNKNOWN)
_INPLACE: Final[tuple[tuple[str, Parameter], ...]] = (("inplace", False),)
_ADAPTIVE_POOL: Final[tuple[tuple[str, Parameter], ...]] = (("output_size", UNKNOWN),)
_RECURRENT: Final[tuple[tuple[str, Parameter], ...]] = (
    ("input_size", UNKNOWN),
    ("hidden_size", UNKNOWN),
    ("num_layers", 1),
    ("bias", True),
    ("batch_first", False),
    ("dropout", 0.0),
)

_MODULES: Final[tuple[tuple[Kind, tuple[tuple[str, Parameter], ...], str], ...]] = (
    (Kind.BATCHNORM, _NORM, "BatchNorm1d BatchNorm2d BatchNorm3d"),
    (Kind.BATCHNORM, _LAZY_NORM, "LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d"),
    (Kind.BATCHNORM, _SYNC_NORM, "SyncBatchNorm"),
    (Kind.OTHER_NORM, _INSTANCE_NORM, "InstanceNorm1d InstanceNorm2d InstanceNorm3d"),
    (Kind.OTHER_NORM, (), "LazyInstanceNorm1d LazyInstanceNorm2d LazyInstanceNorm3d"),
    (Kind.OTHER_NORM, (), "LayerNorm GroupNorm LocalResponseNorm RMSNorm CrossMapLRN2d"),
    (Kind.CONV, _CONV, "Conv1d Conv2d Conv3d"),
    (Kind.CONV, _CONV[1:], "LazyConv1d LazyConv2d LazyConv3d"),
    (Kind.CONV, _CONV_TRANSPOSE, "ConvTranspose1d ConvTranspose2d ConvTranspose3d"),
    (
        Kind.CONV,
        _CONV_TRANSPOSE[1:],
        "LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d",
    ),
    (Kind.LINEAR, _LINEAR, "Linear"),
    (Kind.LINEAR, _LINEAR[1:], "LazyLinear"),
    (Kind.LINEAR, _BILINEAR, "Bilinear"),
    (Kind.RECURRENT, _RECURRENT, "RNN LSTM GRU"),
    (Kind.RECURRENT, (), "RNNCell LSTMCell GRUCell"),
    (Kind.ATTENTION, (), "MultiheadAttention Transformer TransformerEncoder TransformerDecoder"),
    (Kind.ATTENTION, (), "TransformerEncoderLayer TransformerDecoderLayer"),
    (Kind.EMBEDDING, (), "Embedding EmbeddingBag"),
    (
        Kind.ACTIVATION,
        (),
        "PReLU GELU Softplus Softsign Tanh Hardshrink Softshrink Tanhshrink",
    ),
    (Kind.ACTIVATION, _INPLACE, "ReLU ReLU6 SELU SiLU Mish Hardswish"),
    (Kind.ACTIVATION, (("negative_slope", 0.01), *_INPLACE), "LeakyReLU"),
    (Kind.ACTIVATION, (("alpha", 1.0), *_INPLACE), "ELU CELU"),
    (Kind.ACTIVATION, (("lower", 1 / 8), ("upper", 1 / 3), *_INPLACE), "RReLU"),
    (Kind.ACTIVATION, (("min_val", -1.0), ("max_val", 1.0), *_INPLACE), "Hardtanh"),
    (Kind.ACTIVATION, (("threshold", UNKNOWN), ("value", UNKNOWN), *_INPLACE), "Threshold"),
    (Kind.GATE, _INPLACE, "Hardsigmoid"),
    (
        Kind.GATE,
        (),
        "Sigmoid LogSigmoid Softmax Softmax2d LogSoftmax Softmin GLU",
    ),
    (Kind.DROPOUT, _DROPOUT, "Dropout Dropout1d Dropout2d Dropout3d"),
    (Kind.DROPOUT, _DROPOUT, "AlphaDropout FeatureAlphaDropout"),
    (
        Kind.POOL,
        (),
        "MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d LPPool1d LPPool2d LPPool3d "
        "FractionalMaxPool2d FractionalMaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d",
    ),
    (
        Kind.POOL,
        _ADAPTIVE_POOL,
        "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d "
        "AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d",
    ),
    (Kind.UPSAMPLE, (), "Upsample UpsamplingNearest2d UpsamplingBilinear2d PixelShuffle"),
    (Kind.RESHAPE, _FLATTEN, "Flatten"),
    (Kind.RESHAPE, (), "Unflatten PixelUnshuffle ChannelShuffle Fold Unfold"),
    (Kind.RESHAPE, (), "ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d"),
    (Kind.RESHAPE, (), "ReplicationPad2d ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d"),
    (Kind.RESHAPE, (), "ConstantPad1d ConstantPad2d ConstantPad3d CircularPad1d CircularPad2d"),
    (Kind.IDENTITY, (), "Identity"),
)

_FUNCTIONS: Final[tuple[tuple[Kind, str], ...]] = (
    (
        Kind.ACTIVATION,
        "relu_ leaky_relu_ prelu rrelu rrelu_ elu_ celu_ selu_ gelu hardtanh hardtanh_ softplus "
        "softsign tanh tanh_ hardshrink softshrink tanhshrink threshold threshold_",
    ),
    (
        Kind.GATE,
        "sigmoid sigmoid_ logsigmoid softmax log_softmax softmin glu gumbel_softmax",
    ),
    (
        Kind.POOL,
        "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d "
        "max_unpool2d",
    ),
    (Kind.UPSAMPLE, "interpolate upsample pixel_shuffle grid_sample"),
    (
        Kind.RESHAPE,
        "view reshape unflatten permute transpose transpose_ t squeeze squeeze_ unsqueeze "
        "unsqueeze_ expand expand_as repeat contiguous movedim moveaxis swapaxes swapdims "
        "view_as reshape_as pad channel_shuffle pixel_unshuffle unfold fold roll",
    ),
    (Kind.SLICE, "narrow select index_select gather masked_select"),
    (Kind.SPLIT, "chunk split tensor_split unbind split_with_sizes"),
    (Kind.ADD, "add add_ sub sub_ addmm addcmul"),
    (Kind.MUL, "mul mul_ div div_ matmul mm bmm einsum multiply"),
    (Kind.CONCAT, "stack hstack vstack dstack"),
    (
        Kind.IDENTITY,
        "to cuda cpu float half double bfloat16 type type_as detach detach_ clone "
        "requires_grad_ contiguous_format pin_memory retain_grad",
    ),
    (Kind.CONV, "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"),
    (Kind.LINEAR, "linear bilinear"),
    (Kind.EMBEDDING, "embedding embedding_bag"),
    (Kind.OTHER_NORM, "instance_norm layer_norm group_norm local_response_norm rms_norm normalize"),
    (Kind.ATTENTION, "scaled_dot_product_attention multi_head_attention_forward"),
)

_SPECIAL_FUNCTIONS: Final[tuple[tuple[Kind, tuple[tuple[str, Parameter], ...], str], ...]] = (
    (
        Kind.DROPOUT,
        _F_DROPOUT,
        "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout "
        "dropout_ alpha_dropout_ feature_dropout feature_alpha_dropout_",
    ),
    (Kind.BATCHNORM, _F_BATCH_NORM, "batch_norm"),
    (
        Kind.POOL,
        (_DATA, *_ADAPTIVE_POOL),
        "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d "
        "adaptive_max_pool2d adaptive_max_pool3d",
    ),
    (Kind.POOL, (_DATA, ("dim", None), ("keepdim", False)), "mean sum amax"),
    (Kind.CONCAT, (("tensors", UNKNOWN), ("dim", 0)), "cat concat concatenate"),
    (Kind.RESHAPE, _F_FLATTEN, "flatten"),
    (Kind.ACTIVATION, (_DATA, *_INPLACE), "relu relu6 selu silu mish hardswish"),
    (Kind.ACTIVATION, (_DATA, ("negative_slope", 0.01), *_INPLACE), "leaky_relu"),
    (Kind.ACTIVATION, (_DATA, ("alpha", 1.0), *_INPLACE), "elu celu"),
    (Kind.GATE, (_DATA, *_INPLACE), "hardsigmoid"),
)


_BASES: Final = (
    (Kind.BATCHNORM, _NORM, "torch.nn.modules.batchnorm._BatchNorm"),
    (Kind.DROPOUT, (("p", 0.5), ("inplace", False)), "torch.nn.modules.dropout._DropoutNd"),
)
"""Private classes from which projects derive layers of their own."""


def _table() -> Mapping[str, TorchName]:
    table: dict[str, TorchName] = {}
    for kind, parameters, names in _MODULES:
        for name in names.split():
            table[f"torch.nn.{name}"] = TorchName(f"torch.nn.{name}", kind, parameters)
    for kind, parameters, name in _BASES:
        table[name] = TorchName(name, kind, parameters)
    groups = [(kind, (), names) for kind, names in _FUNCTIONS]
    for kind, parameters, names in (*groups, *_SPECIAL_FUNCTIONS):
        for name in names.split():
            for prefix in ("torch.nn.functional", "torch", "torch.Tensor"):
                table[f"{prefix}.{name}"] = TorchName(f"{prefix}.{name}", kind, parameters)
    return MappingProxyType(table)


TABLE: Final[Mapping[str, TorchName]] = _table()

CONTAINERS: Final = frozenset(
    f"torch.nn.{name}" for name in ("Sequential", "ModuleList", "ModuleDict")
)
"""Classes that group layers and bound no block."""

_PRIVATE_MODULE: Final = re.compile(r"^torch\.nn\.modules(?:\.\w+)?\.(?=[A-Z])")


_SYNCHRONIZED: Final = re.compile(r"\.SynchronizedBatchNorm([123])d$")
"""https://github.com/vacancy/Synchronized-BatchNorm-PyTorch, copied into many projects."""


@lru_cache(maxsize=4096)
def canonical(qualified: str) -> str:
    """The public spelling of a torch name: torch.nn.modules.conv.Conv2d is torch.nn.Conv2d.

    BatchNorm that others synchronised before torch did is torch's, with the same parameters.
    """
    if qualified == "apex.parallel.SyncBatchNorm":
        return "torch.nn.SyncBatchNorm"
    if (copied := _SYNCHRONIZED.search(qualified)) is not None:
        return f"torch.nn.BatchNorm{copied[1]}d"
    return _PRIVATE_MODULE.sub("torch.nn.", qualified)


EXTRA_BATCHNORM: Final = "torch.nn.extra.batchnorm."
EXTRA_ACTIVATION: Final = "torch.nn.extra.activation."
"""Before the names of layers that are torch's only by the word of the settings."""


@lru_cache(maxsize=4096)
def lookup(qualified: str) -> TorchName | None:
    """What the table knows of a qualified name; None for everything that is not in it."""
    if qualified.startswith(EXTRA_BATCHNORM):
        unsaid = tuple((name, UNKNOWN) for name, _ in _NORM)
        return TorchName(qualified, Kind.BATCHNORM, unsaid)
    if qualified.startswith(EXTRA_ACTIVATION):
        return TorchName(qualified, Kind.ACTIVATION)
    return TABLE.get(canonical(qualified))


def is_batchnorm(qualified: str) -> bool:
    """Whether the name is one of torch's BatchNorm classes or functions."""
    entry = lookup(qualified)
    return entry is not None and entry.kind is Kind.BATCHNORM
