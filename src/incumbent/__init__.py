"""incumbent keeps a production recommender honest: serve, log, measure, judge, act."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from incumbent.dashboard.comparison import compare

__version__ = "0.1.0"
__all__ = ["__version__", "compare"]


def __getattr__(name: str) -> Any:
    """`compare` when it is asked for: importing this package loads nothing else."""
    if name == "compare":
        from incumbent.dashboard.comparison import compare

        return compare
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
