"""`incumbent schema`."""

from __future__ import annotations

import json

from incumbent.events import codec


def text() -> str:
    """The JSON Schema of every event, as `GET /v1/schema` answers it."""
    return json.dumps(codec.json_schema(), indent=2)
