"""Where a command asks: the stores of a directory, or a running service. Both answer the same."""

from __future__ import annotations

import atexit
import getpass
import urllib.parse
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from incumbent.commands.codes import local_parts
from incumbent.commands.common import Remote, configured, stores

Progress = Callable[[str, int, int | None], None]  # what, done, of


class AnyDesk(Protocol):
    """What commands need of `incumbent.service.desk.Desk`."""

    def experiments(self) -> list[dict[str, Any]]: ...
    def experiment(self, name: str) -> dict[str, Any]: ...
    def step(self, name: str, step: str, *, actor: str, reason: str) -> dict[str, Any]: ...
    def report(self, days: int = 7) -> dict[str, Any]: ...
    def metrics(self, surface: str | None = None, days: int = 7) -> list[dict[str, Any]]: ...
    def drift(self) -> dict[str, Any]: ...
    def drift_findings(self, monitor: str | None = None, limit: int = 100) -> list[dict[str, Any]]: ...
    def drift_audit(self, name: str | None = None, version: int | None = None, *,
                    progress: Progress | None = None) -> dict[str, Any]: ...
    def baselines(self) -> list[dict[str, Any]]: ...
    def baseline(self, name: str, version: int | None = None) -> dict[str, Any]: ...
    def build_baseline(self, first: date, last: date, name: str, *, actor: str, reason: str,
                       leave_out_unstable: bool = False, progress: Progress | None = None) -> dict[str, Any]: ...
    def pin_baseline(self, name: str, version: int | None = None, *, actor: str,
                     reason: str) -> dict[str, Any]: ...
    def trace_request(self, request_id: str) -> dict[str, Any]: ...
    def trace_user(self, user_id: str) -> dict[str, Any]: ...
    def erase(self, user_id: str, *, actor: str, reason: str) -> dict[str, Any]: ...


class RemoteDesk:
    """The desk of a running service."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def experiments(self) -> list[dict[str, Any]]:
        """All experiments."""
        found: list[dict[str, Any]] = self._remote.get("/v1/experiments")
        return found

    def experiment(self, name: str) -> dict[str, Any]:
        """One experiment."""
        return self._object(f"/v1/experiments/{_quote(name)}")

    def step(self, name: str, step: str, *, actor: str, reason: str) -> dict[str, Any]:
        """One step by hand."""
        taken: dict[str, Any] = self._remote.post(
            f"/v1/experiments/{_quote(name)}/{_quote(step)}", {"reason": reason, "actor": actor})
        return taken

    def report(self, days: int = 7) -> dict[str, Any]:
        """The latest numbers."""
        return self._object(f"/v1/report?days={days}")

    def metrics(self, surface: str | None = None, days: int = 7) -> list[dict[str, Any]]:
        """The trees of metrics."""
        asked = f"/v1/metrics?days={days}" + (f"&surface={_quote(surface)}" if surface is not None else "")
        found: list[dict[str, Any]] = self._remote.get(asked)
        return found

    def drift(self) -> dict[str, Any]:
        """How drift stands."""
        return self._object("/v1/drift")

    def drift_findings(self, monitor: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Findings of drift."""
        found: list[dict[str, Any]] = self._remote.get(f"/v1/drift/findings?{_query(monitor=monitor, limit=limit)}")
        return found

    def drift_audit(self, name: str | None = None, version: int | None = None, *,
                    progress: Progress | None = None) -> dict[str, Any]:
        """Promised beside delivered; a service tells no progress."""
        return self._object(f"/v1/drift/audit?{_query(name=name, version=version)}")

    def baselines(self) -> list[dict[str, Any]]:
        """All baselines."""
        found: list[dict[str, Any]] = self._remote.get("/v1/baselines")
        return found

    def baseline(self, name: str, version: int | None = None) -> dict[str, Any]:
        """One baseline."""
        return self._object(f"/v1/baselines/{_quote(name)}?{_query(version=version)}")

    def build_baseline(self, first: date, last: date, name: str, *, actor: str, reason: str,
                       leave_out_unstable: bool = False, progress: Progress | None = None) -> dict[str, Any]:
        """A baseline of a period; a service tells no progress."""
        made: dict[str, Any] = self._remote.post("/v1/baselines", {
            "from": first.isoformat(), "to": last.isoformat(), "name": name, "actor": actor, "reason": reason,
            "leave_out_unstable": leave_out_unstable})
        return made

    def pin_baseline(self, name: str, version: int | None = None, *, actor: str, reason: str) -> dict[str, Any]:
        """Put a baseline in force."""
        made: dict[str, Any] = self._remote.post(f"/v1/baselines/{_quote(name)}/pin", {
            "version": version, "actor": actor, "reason": reason})
        return made

    def trace_request(self, request_id: str) -> dict[str, Any]:
        """One request."""
        return self._object(f"/v1/trace/request/{_quote(request_id)}")

    def trace_user(self, user_id: str) -> dict[str, Any]:
        """One shopper."""
        return self._object(f"/v1/trace/user/{_quote(user_id)}")

    def erase(self, user_id: str, *, actor: str, reason: str) -> dict[str, Any]:
        """Forget one shopper."""
        erased: dict[str, Any] = self._remote.delete(f"/v1/users/{_quote(user_id)}",
                                                     {"reason": reason, "actor": actor})
        return erased

    def _object(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self._remote.get(path)
        return found


def desk(path: Path | None, directory: Path | None, url: str | None, key: str | None, *,
         make: bool = False) -> AnyDesk:
    """The desk of a service where a URL is given, else that of the configured directory, open until the end.

    `NotFoundError` where nothing was ever kept in that directory; with `make` it is begun.
    """
    if url is not None:
        return RemoteDesk(Remote(url, key))
    config = configured(path, directory=directory)
    with local_parts("a directory"):
        from incumbent.service.desk import Desk
        from incumbent.service.metrics import Meter
        from incumbent.service.parts import clock_of
        from incumbent.service.pulse import Pulse
    opened = stores(config, make=make)
    atexit.register(opened.__exit__, None, None, None)
    held, clock = opened.__enter__(), clock_of(config)
    meter = Meter(config.stores.directory / "run" / "metrics", "command", clock)  # reads what a service says of itself
    return Desk(config, held, clock, Pulse(meter, clock, held.control, ()))


def actor() -> str:
    """Who sits at the command line."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "command line"


def _quote(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _query(**given: Any) -> str:
    """What is given, as a query string."""
    return urllib.parse.urlencode({name: value for name, value in given.items() if value is not None})
