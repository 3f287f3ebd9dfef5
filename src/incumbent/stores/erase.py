"""Which rows an erasure takes: those of the users, their own embeddings, and quarantined messages that name them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from incumbent.stores.store import Table

#: the tables whose rows belong to the user that `entity_id` names where `entity` is "user"
VECTORS: tuple[Table, ...] = ("embedding", "latest_vector")
#: the column that holds the user of a row
USER_COLUMNS: dict[Table, str] = {
    "impression": "user_id", "feedback": "user_id", "outcome": "user_id", "quarantine": "user_id",
    **dict.fromkeys(VECTORS, "entity_id"),
}
#: the columns from which `kept` can tell
KEYS: dict[Table, list[str]] = {
    **{table: [column] for table, column in USER_COLUMNS.items()},
    "quarantine": ["user_id", "raw"], **{table: ["entity", "entity_id"] for table in VECTORS},
}


def kept(table: Table, keys: pa.Table, users: Collection[str]) -> pa.Array | None:
    """The rows that stay, as a mask over `keys`; None where all of them do."""
    hit = pc.fill_null(pc.is_in(keys[USER_COLUMNS[table]], value_set=pa.array(sorted(users), pa.string())), False)
    if table in VECTORS:
        hit = pc.and_(hit, pc.equal(keys["entity"], "user"))
    elif table == "quarantine":
        named = names_one_of(users)
        raw = pa.array([bool(named.search(data)) for data in keys["raw"].to_pylist()], pa.bool_())
        hit = pc.or_(hit, raw)
    return pc.invert(hit) if pc.any(hit).as_py() else None


def names_one_of(users: Collection[str]) -> re.Pattern[bytes]:
    """A pattern that finds an id in raw bytes: as a word of its own, JSON-escaped, or as a MessagePack string.

    >>> bool(names_one_of(["u1"]).search(b'{"user_id": "u1"')), bool(names_one_of(["u1"]).search(b'{"user_id": "u12"'))
    (True, False)
    """
    parts = []
    for user in sorted(users):
        for text in {user.encode(), json.dumps(user)[1:-1].encode()}:
            parts.append(rb"(?<![A-Za-z0-9_\-])" + re.escape(text) + rb"(?![A-Za-z0-9_\-])")
        parts.append(re.escape(msgspec.msgpack.encode(user)))
    return re.compile(b"|".join(parts))
