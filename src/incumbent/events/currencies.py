"""The currency codes that events may name."""

from __future__ import annotations

from incumbent.currencies import CURRENCIES

__all__ = ["CURRENCIES"]
