"""`incumbent erase`."""

from __future__ import annotations

import json
from typing import Any


def show(erased: dict[str, Any], as_json: bool) -> None:
    """What went, and the audit row that stays."""
    if as_json:
        print(json.dumps(erased, indent=2))
        return
    if not erased["done"]:
        print(f"handed to the running service, which does it within seconds; audit row {erased['audit']}")
        return
    for place, rows in erased["rows"].items():
        print(f"{place}: {rows} rows")
    if not erased["rows"]:
        print("nothing was kept of this shopper")
    print(f"audit row {erased['audit']} names {erased['subject']}")
