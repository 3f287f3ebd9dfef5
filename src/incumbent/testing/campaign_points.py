"""Where the processes of a service are killed: each part's moments between two steps that must not come apart."""

from __future__ import annotations

from msgspec import Struct

_INBOX = "incumbent.stores.inbox_file.InboxFile"
_LAKE = "incumbent.stores.lake.DeltaLake"
_FOLDER = "incumbent.stores.delta.DeltaFolder"
_MATURITY = "incumbent.stores.control_maturity.ControlMaturity"
_CONCLUSIONS = "incumbent.stores.control_conclusions"
_STATES = "incumbent.stores.control_states.ControlStates"
_ROLLING = "@incumbent.loop.rollup.Rollup.run_once"
_SEALING = "@incumbent.loop.seal.Sealer.run_once"
_REPLACING = f"@{_LAKE}.replace"
_DECIDING = "@incumbent.loop.decide.Decider.run_once"


class Moment(Struct, frozen=True):
    """A kill point with the name that a person reads, and how often a process passes it within seconds."""

    part: str  # gateway, collector, loop
    name: str
    point: str
    often: bool = True  # else it is armed for its first pass alone


MOMENTS = (
    Moment("gateway", "models answered, nothing appended", "before:incumbent.loop.serve.Gateway._commit"),
    Moment("gateway", "appended, not on disk", f"before:{_INBOX}.commit"),
    Moment("gateway", "on disk, nobody told", f"after:{_INBOX}.commit"),
    Moment("gateway", "told, the answer has not left", "after:incumbent.loop.serve.Gateway._commit"),
    Moment("collector", "judged, nothing appended", "before:incumbent.stores.inbox.EmbeddedLog.append_async"),
    Moment("collector", "appended, not on disk", f"before:{_INBOX}.commit"),
    Moment("collector", "on disk, nobody told", f"after:{_INBOX}.commit"),
    Moment("collector", "told, no 2xx has left", "after:incumbent.loop.ingest.Ingest.take"),
    Moment("loop", "seal: handed out, not in the lake", f"before:{_LAKE}.commit"),
    Moment("loop", "seal: data files, no entry", f"after:{_FOLDER}.write{_SEALING}"),
    Moment("loop", "seal: entry, not synced", f"before:{_FOLDER}._sync_log@{_FOLDER}.commit{_SEALING}"),
    Moment("loop", "seal: one table of several", f"after:{_FOLDER}.commit{_SEALING}"),
    Moment("loop", "seal: in the lake, not released", f"after:{_LAKE}.commit"),
    Moment("loop", "attribute: before a partition", f"before:{_LAKE}.replace"),
    Moment("loop", "attribute: data files, no entry", f"after:{_FOLDER}.write{_REPLACING}"),
    Moment("loop", "attribute: after a partition", f"after:{_LAKE}.replace"),
    Moment("loop", "mature: sealed, cursor not moved", f"after:{_MATURITY}.seal", False),
    Moment("loop", "mature: restated, cursor not moved", f"after:{_MATURITY}.restate", False),
    Moment("loop", "rollup: before a shard's states", f"before:{_STATES}.put{_ROLLING}"),
    Moment("loop", "rollup: after a shard's states", f"after:{_STATES}.put{_ROLLING}"),
    Moment("loop", "decide: before its transaction", f"before:{_CONCLUSIONS}.ControlConclusions.conclude{_DECIDING}",
           False),
    Moment("loop", "decide: inside its transaction", f"after:{_CONCLUSIONS}.record{_DECIDING}", False),
    Moment("loop", "decide: after its transaction", f"after:{_CONCLUSIONS}.ControlConclusions.conclude{_DECIDING}",
           False),
    Moment("loop", "act: in the log, still in the outbox", "after:incumbent.loop.act.Actor._append", False),
    Moment("loop", "house: files merged, none removed", f"before:{_FOLDER}.vacuum"),
)
