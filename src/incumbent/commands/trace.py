"""`incumbent trace ...`: one request, one shopper, as a person reads them."""

from __future__ import annotations

import json
from typing import Any

from incumbent.errors import NotFoundError


def show_request(traced: dict[str, Any], as_json: bool) -> None:
    """One request: who asked, both lists, the rounds, the page, what followed and how it was credited."""
    if as_json:
        print(json.dumps(traced, indent=2, default=str))
        return
    request, why = traced["request"], traced["why"]
    print(f"request {request['request_id']}")
    print(f"{request['time']}  shopper {request['user_id']}  surface {request['surface']}, page {request['page']}, "
          f"k = {request['k']}, {_ms(request.get('latency_ms'))}")
    plan = traced["plan"]
    print(f"plan {request['plan']}" + (f" (version {plan['version']})" if plan else " (not known)"))
    print(f"mode {request['mode']}: {why['mode']}")
    print(f"lane {why['lane']}")
    if request.get("experiment"):
        print(f"experiment {request['experiment']}, {request['stage']}, share {request['share']}, "
              f"policy {request['policy']}")
    print(f"recomputed: {'yes' if why['recomputed']['ok'] else 'NO'}, {why['recomputed']['text']}")
    for model in request["models"]:
        items = model.get("items", [])
        print(f"\n{model['role']} {model['name']} {model['version']}"
              + (f" (vectors {model['embedding_version']})" if model.get("embedding_version") else "")
              + f": {model['status']}, {_ms(model['latency_ms'])}, {model['n_items']} items"
              + (f", {model['reason']}" if model.get("reason") else ""))
        if items:
            print("  " + " ".join(items[:20]) + (f" ... and {len(items) - 20} more" if len(items) > 20 else ""))
        _generated(model, traced["texts"])
    _rounds(why["rounds"])
    print("\nshown")
    for slot in why["slots"]:
        print(f"  {slot['position']:>3}  {slot['item_id']}  {slot['owner'] or '-'}  {slot['kind']}  {slot['why']}")
    _credit(traced["credit"])
    _concluded(traced)


def show_user(traced: dict[str, Any], as_json: bool) -> None:
    """One shopper: how much is known, experiments, the newest requests, and what they did; `NotFoundError` where that
    is nothing at all."""
    if as_json:
        print(json.dumps(traced, indent=2, default=str))
        return
    counts = traced["counts"]
    if not any(counts.values()) and not any((traced.get("exclusions") or {}).values()):
        raise NotFoundError("nothing is known of this shopper", got=traced["user_id"], field="user_id",
                            expected=f"somebody who was served or did something since {traced['since'][:10]}",
                            hint="what was just served is sealed within [loop] seal_s; after an erasure this is right")
    told = ", ".join(_so_many(counts[f"{what}s"], what) for what in ("request", "event", "outcome"))
    first = f"known since {traced['first'][:10]}" if traced["first"] else f"nothing since {traced['since'][:10]}"
    print(f"shopper {traced['user_id']}, {first}: {told}")
    if traced.get("exclusions"):
        print("excluded: " + _excluded(traced["exclusions"]))
    for one in traced.get("experiments", ()):
        print(f"experiment {one['name']}: {_so_many(one['requests'], 'request')} in {', '.join(one['lanes'])}; "
              f"it stands at {one['stage']}" + (f", {one['verdict']}" if one["verdict"] else ""))
        for row in one["matured"]:
            print(f"  matured {row['matured_at'][:16]}: candidate {row['x']:g}, champion {row['y']:g} in {row['n']:g} "
                  f"pairs, value {row['value']:g}")
    print("\nnewest requests")
    for request in traced["requests"][:20]:
        print(f"  {request['time'][:19]}  {request['surface']}  {request['mode']}  {request['lane']}  "
              f"{len(request['slots'])} items  {request['request_id']}")
    print("\nwhat they did, and whom it was credited to")
    for row in traced["told"][:40]:
        print(f"  {str(row['time'])[:19]}  {row['text']}")
    if not traced["told"]:
        print("  nothing that is known of")
    for one in traced.get("findings", ()):
        print(f"finding {one['time'][:16]} {one['subject']} {one['check']} is {one['status']}: {one['reason']}")


def _excluded(exclusions: Any) -> str:
    if isinstance(exclusions, dict):
        return "; ".join(f"{kind} {', '.join(values)}" for kind, values in exclusions.items() if values) or "nothing"
    return ", ".join(exclusions)


def _rounds(rounds: list[dict[str, Any]]) -> None:
    if not rounds:
        return
    print("\nrounds")
    for one in rounds:
        given = ", ".join(f"{slot['item_id']} to {slot['owner'] or 'nobody'}"
                          + ("" if slot["position"] else " (an earlier page)") for slot in one["slots"])
        print(f"  {one['number'] + 1:>3}  {one['champion'] or '-'} against {one['candidate'] or '-'}: {one['why']}; "
              f"{given}")


def _generated(model: dict[str, Any], texts: list[dict[str, Any]]) -> None:
    """What a generating model was given and wrote, and what the checks found."""
    trace = model.get("generated")
    if not trace:
        return
    if trace.get("text"):
        print(f"  wrote: {trace['text']}")
    for one in trace.get("items", ()):
        print(f"  of {one['item_id']}: " + " | ".join(one[key] for key in ("title", "explanation") if one.get(key)))
    if trace.get("input"):
        print(f"  was given: {trace['input']}")
    for piece in trace.get("retrieved", ()):
        print(f"  retrieved {piece['source']}: {piece['text']}")
    for checked in texts:
        for flag in checked["found"] if checked["role"] == model["role"] else ():
            about = flag["item_id"] or "the page"
            told = "; ".join(f"{one['check']}: {one['reason']}" for one in flag["reasons"])
            print(f"  CHECK {flag['place']} of {about}: {told}")


def _credit(credit: dict[str, Any]) -> None:
    print(f"\nwhat followed, and its credit (in force: {credit['in_force']} within {credit['window_days']:g} days)")
    if not any(rule["rows"] for rule in credit["rules"]):
        print("  nothing that is known of")
        return
    for rule in credit["rules"]:
        print(f"  {rule['rule']}" + (" (in force)" if rule["rule"] == credit["in_force"] else ""))
        for row in rule["rows"]:
            told = f"champion {row['champion']:g}, candidate {row['candidate']:g}" if not row["reason"] else row["why"]
            print(f"    {row['time'][:19]}  {row['action']}  {row['item_id']}  {told}")


def _concluded(traced: dict[str, Any]) -> None:
    now = traced["experiment"]
    if now:
        verdict = f", {now['verdict']}" if now["verdict"] else ""
        print(f"\nexperiment {now['name']} stands at {now['stage']}{verdict}")
        for one in now["decisions"]:
            print(f"  {one['time'][:16]}  {one['verdict']}: {one['reason']} ({one['by']})")
    if traced["findings"]:
        print("\nfindings that touch it")
        for one in traced["findings"]:
            print(f"  {one['time'][:16]}  {one['subject']} {one['check']} is {one['status']}: {one['reason']}")


def _so_many(count: int, what: str) -> str:
    """A count with its noun.

    >>> _so_many(1, "event"), _so_many(1200, "event")
    ('1 event', '1,200 events')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _ms(value: float | None) -> str:
    return "latency not known" if value is None else f"{value:.1f} ms"
