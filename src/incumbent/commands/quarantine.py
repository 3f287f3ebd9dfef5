"""`incumbent quarantine ...`: what was refused at the door, and its way back."""

from __future__ import annotations

import json
import re
import urllib.parse
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from incumbent.commands.options import ConfigPath, Directory, Json, Key, Url
from incumbent.errors import DataError

quarantine = typer.Typer(no_args_is_help=True, help="Refused messages: list them, look at one, send them in again.")

Since = Annotated[str | None, typer.Option("--since", help="Arrived at this time or later (2026-03-01, or a time).")]
Until = Annotated[str | None, typer.Option("--until", help="Arrived before this time.")]
Matching = Annotated[str | None, typer.Option("--matching", help="Text that the reason of the refusal holds.")]
Kind = Annotated[str | None, typer.Option(
    "--kind", help="schema, id, time, currency, number, size or reference.")]
Field = Annotated[str | None, typer.Option("--field", help="The field that was refused.")]
Source = Annotated[str | None, typer.Option("--source", help="Who refused it: collector or sealer.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept for ever.")]
Fix = Annotated[str | None, typer.Option(
    "--fix", help="What mends every message: a JSON Patch, @FILE of one, or module:function (dict -> dict or None).")]


@quarantine.command("list")
def list_(path: ConfigPath = None, directory: Directory = None, url: Url = None, key: Key = None,
          since: Since = None, until: Until = None, matching: Matching = None, kind: Kind = None, field: Field = None,
          source: Source = None, limit: Annotated[int, typer.Option(help="Messages that are listed.")] = 20,
          everything: Annotated[bool, typer.Option("--all", help="Also what has returned.")] = False,
          as_json: Json = False) -> None:
    """How many messages were refused, by reason, and the newest of them."""
    chosen = {**_chosen(since, until, matching, kind, field, source), "limit": limit}
    if url is None:
        found = _desk(path, directory).quarantine(chosen, everything=everything)
    else:
        asked = {**chosen, "matching": chosen.pop("reason", None), "everything": "true" if everything else "false"}
        query = urllib.parse.urlencode({name: value for name, value in asked.items() if value is not None})
        found = _remote(url, key).get(f"/v1/quarantine?{query}")
    if as_json:
        _print(found)
    else:
        _table(found)


@quarantine.command("show")
def show(event_id: Annotated[str, typer.Argument(help="Its id in quarantine.")], path: ConfigPath = None,
         directory: Directory = None, url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """One message as it came, and why it was refused."""
    if url is None:
        found = _desk(path, directory).quarantined(event_id)
    else:
        found = _remote(url, key).get(f"/v1/quarantine/{urllib.parse.quote(event_id, safe='')}")
    if as_json:
        _print(found)
        return
    print(f"{found['time']}  refused by the {found['source']}: {found['reason']}")
    if found["index"] is not None:
        print(f"event {found['index']} of its batch" + (f", field {found['field']}" if found["field"] else ""))
    if found["returned"]:
        print(f"sent in again, audit row {found['returned']}")
    print(found["raw"])


@quarantine.command("replay")
def replay(reason: Reason, path: ConfigPath = None, directory: Directory = None, url: Url = None, key: Key = None,
           since: Since = None, until: Until = None, matching: Matching = None, kind: Kind = None,
           field: Field = None, source: Source = None,
           id: Annotated[list[str] | None, typer.Option(help="An id in quarantine; repeatable.")] = None,
           fix: Fix = None, limit: Annotated[int, typer.Option(help="Messages that go back, at most.")] = 5_000,
           dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen; change nothing.")] = False,
           as_json: Json = False) -> None:
    """Send refused messages in again, mended; each passes the door's checks once more and counts once."""
    from incumbent.commands.desk import actor

    chosen = {**_chosen(since, until, matching, kind, field, source), "limit": limit, "ids": id or []}
    mend = _fix(fix)
    if url is None:
        done = _desk(path, directory).replay(chosen, actor=actor(), reason=reason, fix=mend, dry_run=dry_run)
    else:
        if isinstance(mend, str):
            raise DataError("a function is not sent to a service", got=mend, expected="a JSON Patch",
                            hint="run it where the data directory is, without --url")
        body = {**chosen, "matching": chosen.pop("reason", None), "fix": mend or [], "dry_run": dry_run,
                "reason": reason, "actor": actor()}
        done = _remote(url, key).post("/v1/quarantine/replay", {k: v for k, v in body.items() if v is not None})
    if as_json:
        _print(done)
        return
    what = "would go back" if dry_run else "on their way back"
    print(f"{done['selected']} messages: {done['returned']} {what}, {done['refused']} refused again"
          + (f"; {done['before']} had gone back before" if done["before"] else ""))
    for one in done["refusals"][:20]:
        print(f"  {one['event_id']}  {one['reason']}")
    if done["audit"]:
        print(f"audit row {done['audit']}; the loop of the service seals them within seconds")


def _fix(text: str | None) -> Any:
    """A JSON Patch as a list, ``module:function`` as text, None where there is none."""
    if text is None:
        return None
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except OSError as error:
            raise DataError("the fix cannot be read", got=text, hint=str(error.strerror), field="--fix") from None
    elif re.fullmatch(r"[\w.]+:[\w.]+", text):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError("the fix is neither a JSON Patch nor module:function", got=text, hint=str(error),
                        field="--fix") from None


def _chosen(since: str | None, until: str | None, matching: str | None, kind: str | None, field: str | None,
            source: str | None) -> dict[str, Any]:
    given = {"since": _moment(since, "--since"), "until": _moment(until, "--until"), "reason": matching, "kind": kind,
             "field": field, "source": source}
    return {name: value for name, value in given.items() if value is not None}


def _moment(text: str | None, option: str) -> str | None:
    """A time with a zone; one without is UTC.

    >>> _moment("2026-03-01", "--since")
    '2026-03-01T00:00:00+00:00'
    """
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise DataError("not a time", got=text, expected="2026-03-01 or 2026-03-01T12:00:00Z", field=option) from None
    return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).isoformat()


def _table(found: dict[str, Any]) -> None:
    if not found["total"]:
        print("nothing waits in quarantine")
        return
    print("messages  kind      field         refused by  last              for example")
    for one in found["groups"]:
        print(f"{one['count']:<8,}  {one['kind']:<8}  {one['field'] or '-':<12}  {one['source']:<10}  "
              f"{one['last'][:16]}  {one['example']}")
    print(f"\nthe newest {len(found['rows'])} of {found['total']:,}:")
    for one in found["rows"]:
        back = "  (returned)" if one["returned"] else ""
        print(f"{one['event_id']}  {one['time'][:19]}  {one['reason']}{back}")


def _desk(path: Path | None, directory: Path | None) -> Any:
    from incumbent.commands.desk import desk

    return desk(path, directory, None, None)


def _remote(url: str, key: str | None) -> Any:
    from incumbent.commands.common import Remote

    return Remote(url, key)


def _print(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))
