"""The page: what a person looks at instead of reading logs. Server-rendered; a little script for charts and steps."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from incumbent.dashboard.pages import mount

__all__ = ["mount"]


def __getattr__(name: str) -> Any:
    """`mount` when it is asked for, so that a report needs no web server."""
    if name == "mount":
        from incumbent.dashboard.pages import mount

        return mount
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
