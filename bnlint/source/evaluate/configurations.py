"""Configuration objects of libraries: yacs, EasyDict and their like.

What a program writes into one is a default, which files and command lines change.
"""

from __future__ import annotations

from bnlint.source.evaluate.folding import soft
from bnlint.source.values import (
    ANYTHING,
    NONE,
    Arguments,
    ClassObject,
    External,
    Known,
    Mapping,
    Namespace,
    Value,
    hard,
)

CONFIGURATION = "configuration"
CLASSES = frozenset(
    {
        "addict.Dict",
        "attrdict.AttrDict",
        "box.Box",
        "detectron2.config.CfgNode",
        "easydict.EasyDict",
        "fvcore.common.config.CfgNode",
        "ml_collections.ConfigDict",
        "ml_collections.config_dict.ConfigDict",
        "munch.Munch",
        "yacs.config.CfgNode",
    }
)
_READS_FILES = frozenset(
    "freeze defrost merge_from_file merge_from_list merge_from_other_cfg lock unlock".split()
)


def configuration(entries: Value | None = None) -> Namespace:
    """A new configuration, with the entries of a dictionary."""
    made = Namespace(CONFIGURATION)
    if isinstance(entries, Mapping):
        for key, entry in entries.values().items():
            made.fields[key] = default_of(entry)
    return made


def default_of(value: Value) -> Value:
    """What a program reads where another value may have been configured."""
    if isinstance(value, Mapping):
        return configuration(value)
    return soft(value) if isinstance(value, Known) else value


def is_configuration(value: Value) -> bool:
    """Whether a value is a configuration."""
    return isinstance(value, Namespace) and value.kind == CONFIGURATION


def is_configuration_class(cls: ClassObject) -> bool:
    """Whether a class of the project extends one of these."""
    return any(isinstance(base, External) and base.name in CLASSES for base in cls.linearization())


def configuration_method(value: Namespace, name: str, arguments: Arguments) -> Value:
    """A method of a configuration."""
    key = hard(arguments.get(0, "key") or ANYTHING)
    match name:
        case "clone" | "copy":
            return _copied(value)
        case "__getitem__" | "get" if isinstance(key, Known):
            return value.value(key.value) or ANYTHING
        case _ if name in _READS_FILES:
            return NONE
    return ANYTHING


def _copied(value: Namespace) -> Namespace:
    copied = Namespace(CONFIGURATION)
    for key, entry in value.values().items():
        nested = isinstance(entry, Namespace) and entry.kind == CONFIGURATION
        copied.fields[key] = _copied(entry) if nested else entry  # type: ignore[arg-type]
    return copied
