"""The page: what a person looks at instead of reading logs. Server-rendered; a little script for charts and steps."""

from incumbent.dashboard.pages import mount

__all__ = ["mount"]
