"""incumbent keeps a production recommender honest: serve, log, measure, judge, act."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "compare"]
_LAZY = {"compare": "incumbent.dashboard.comparison"}  # importing this package loads nothing else


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
