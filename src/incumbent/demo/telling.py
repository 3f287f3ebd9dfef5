"""What the demo says at its end, in words: the verdict, the books, and what to look at."""

from __future__ import annotations

from incumbent.demo.books import Books
from incumbent.demo.watched import Watched


def render(found: Books, seen: Watched, url: str | None = None) -> str:
    """The verdict, what was watched beside it, and, while the page stands at `url`, where to click."""
    interval = ""
    if found.estimate is not None:
        low, high = (f"{end:+.1%}" if end is not None else "?" for end in (found.low, found.high))
        interval = f"{found.estimate:+.1%} [{low}, {high}] over {found.users:,} households"
    return "\n".join([
        f"{found.verdict.replace('_', ' ').upper()}  candidate {found.candidate}, on {found.day}",
        f"  {found.reason}",
        *([f"  net preference {interval}"] if found.estimate is not None else []),
        f"  {found.requests:,} requests and {found.events:,} events on record; {found.acknowledged:,} acknowledged, "
        f"{found.lost} lost, {found.duplicates} twice",
        *([f"  answered in {found.p50_ms:.2f} ms (median), {found.p99_ms:.2f} ms (99 %)"]
          if found.p50_ms is not None and found.p99_ms is not None else []),
        *_beside(seen), *([] if url is None else _clicks(url, found.candidate))])


def _beside(seen: Watched) -> list[str]:
    drift, metrics, door = seen.drift, seen.metrics, seen.door
    if drift["baseline"] is None:
        lines = [f"  drift: not judged: {drift['reason']}"]
    else:
        lines = [f"  drift: {len(drift['streams'])} streams against {drift['baseline']['windows']} days, "
                 f"{drift['days_judged']} days judged, {drift['false_alarms_per_month']:g} false alarms a month "
                 f"allowed; {len(drift['findings'])} findings"]
        lines += [f"    {one['day']} {one['stream']} {one['status']}"
                  + (f" (known: {', '.join(one['known'])})" if one["known"] else "") for one in drift["findings"]]
    outside = ", ".join(f"{name} {status}" for name, status in metrics["outside_band"].items())
    lines.append(f"  metrics: {metrics['surface']} of the surface, "
                 + ", ".join(f"{count} of {name}" for name, count in metrics["models"].items())
                 + f"; outside their band on {metrics['until']}: {outside or 'none'}")
    lines.append(f"  at the door: {door['checks']} checks of {door['day'] or 'no day'}, unusual: "
                 f"{', '.join(door['unusual']) or 'none'}; {door['refused']} refused")
    return lines


def _clicks(url: str, experiment: str) -> list[str]:
    return ["", f"The page: {url}  (Ctrl-C ends)",
            f"  {url}/experiments/{experiment}  the verdict, and requests with both lists and who owns what",
            f"  {url}/drift      what changed since the first six weeks, by cluster, category and item",
            f"  {url}/measured   every metric with its days and its band, and the worst cells",
            f"  {url}/door       what came in, each check against its own past",
            f"  {url}/trace      one request or one household, and why"]
