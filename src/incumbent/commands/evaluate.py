"""`incumbent evaluate`: a candidate against the champion on held-out requests, and whether it may be released."""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from incumbent.clock import SystemClock
from incumbent.commands.codes import EXPECTATION_FAILED, local_parts
from incumbent.commands.common import FILE, configured, search, stores
from incumbent.config import Config
from incumbent.errors import ConfigError, NotFoundError, StoreError, near
from incumbent.events.plan import ModelPlan

if TYPE_CHECKING:
    from incumbent.loop.evaluate import Evaluation

DEADLINE_MS = 1_000  # of a callable or URL that no configuration knows


@dataclass(frozen=True)
class Wanted:
    """What is to be evaluated; what is None comes from ``[run]`` of the gate file, then from the configuration."""

    gate: Path
    candidate: str | None = None
    champion: str | None = None
    data: str | None = None
    history: Path | None = None
    catalogue: Path | None = None
    surface: str | None = None
    config: Path | None = None
    directory: Path | None = None


def evaluate(
    wanted: Wanted, *, junit: Path | None = None, html: Path | None = None, json_file: Path | None = None,
    as_json: bool = False,
) -> int:
    """Evaluate, print, and write what is asked for; 0 where every expectation holds, else `EXPECTATION_FAILED`."""
    others = threading.enumerate()
    done = carry_out(wanted)
    from incumbent.commands.evaluate_files import as_html, as_junit, as_text

    plain = json.dumps(done.to_dict(), indent=2)
    for path, text in ((junit, as_junit(done)), (html, as_html(done)), (json_file, plain)):
        if path is not None:
            _write(path, text)
    typer.echo(plain if as_json else as_text(done))
    return _end(0 if done.ok else EXPECTATION_FAILED, others)


def _end(code: int, others: list[threading.Thread]) -> int:
    """The exit code; where a thread of these models hangs, the process ends here: Python would wait without end."""
    working = [thread for thread in threading.enumerate() if thread.name.startswith("model-") and thread not in others]
    for thread in working:
        thread.join(1.0 / len(working))
    if any(thread.is_alive() for thread in working):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def carry_out(wanted: Wanted) -> Evaluation:
    """The evaluation that is wanted; every mistake of the gate file and the command line before any model is asked."""
    with local_parts("an evaluation"):
        from incumbent.loop.evaluate import evaluate as run
        from incumbent.loop.evaluation.held_out import period_of
        from incumbent.loop.evaluation.held_out_file import from_files
        from incumbent.metrics.expectation_file import read_gate

    gate = read_gate(wanted.gate)
    beside = wanted.gate.absolute().parent
    wanted = _filled(wanted, gate.run, beside)
    search(beside, Path.cwd())
    data = _need(wanted.data, "data", "a period, or a file of interactions")
    candidate = _need(wanted.candidate, "candidate", "a configured model, or module:function")
    period = period_of(data)
    config = configuration(wanted.config, wanted.directory, period is not None or not all(
        name is not None and is_target(name) for name in (candidate, wanted.champion)))
    if period is None:
        champion = model_plan(wanted.champion or _champion(config, wanted.surface), config)
        plan = model_plan(candidate, config)
        held = from_files(data, history=wanted.history, catalogue=wanted.catalogue, k=gate.k, requests=gate.requests,
                          surface=wanted.surface or "file")
        return run(held, champion, plan, gate, SystemClock())
    assert config is not None
    return _on_the_lake(wanted, config, period, candidate, gate)


def _on_the_lake(wanted: Wanted, config: Config, period: Any, candidate: str, gate: Any) -> Evaluation:
    from incumbent.loop.catalogue import current_plan
    from incumbent.loop.evaluate import evaluate as run
    from incumbent.loop.evaluation.held_out_lake import from_lake
    from incumbent.loop.left_out import Standing
    from incumbent.service.parts import clock_of

    ids_of_the_shop(config)
    surface = surface_of(config, wanted.surface)
    plan = model_plan(candidate, config)
    with stores(config) as held:
        serving = current_plan(config, held.control)
        champion = model_plan(wanted.champion or serving.surfaces[surface].champion, config)
        found = from_lake(held.lake, period, gate, surface=surface, excluded=Standing.of(held.control))
        clock: Any = clock_of(config) if config.service.clock == "replay" else SystemClock()
        return run(found, champion, plan, gate, clock)


def ids_of_the_shop(config: Config) -> None:
    """Raise `ConfigError` where the log has other user ids than the models."""
    if config.stores.user_ids == "hashed":
        raise ConfigError("the log holds hashed user ids, and models know shoppers by their own",
                          got='stores.user_ids = "hashed"', hint="give --data a file of interactions")


def model_plan(name: str, config: Config | None) -> ModelPlan:
    """The plan of a configured model, of ``module:function``, or of a URL; `NotFoundError` with the nearest name."""
    if config is not None and name in config.models:
        return ModelPlan(name=name, **dict(config.models[name]))
    if name.startswith(("http://", "https://")):
        return ModelPlan(name, "http", name, "1", DEADLINE_MS)
    if is_target(name):
        return ModelPlan(name, "callable", name, "1", DEADLINE_MS)
    known = sorted(config.models) if config is not None else []
    raise NotFoundError("no such model", got=name, expected=f"one of {', '.join(known) or 'none configured'}, "
                        "or module:function", hint=near(name, known), field="--candidate")


def surface_of(config: Config, name: str | None) -> str:
    """The surface of that name, or the only one."""
    if name is None and len(config.surfaces) == 1:
        return next(iter(config.surfaces))
    if name in config.surfaces:
        return str(name)
    raise NotFoundError("no such surface" if name else "which surface?", got=name, field="--surface",
                        expected=f"one of {', '.join(config.surfaces) or 'none configured'}",
                        hint=near(name or "", config.surfaces))


def _champion(config: Config | None, surface: str | None) -> str:
    if config is None:
        raise ConfigError("no champion to compare with", hint="--champion MODEL, or champion under [run]")
    return config.surfaces[surface_of(config, surface)].champion


def _filled(wanted: Wanted, run: Any, beside: Path) -> Wanted:
    """The command line first, then ``[run]``, whose paths are relative to the gate file."""
    def path(given: Path | None, told: str | None) -> Path | None:
        return given if given is not None or told is None else beside / told

    data = wanted.data
    if data is None and run.data is not None:
        from incumbent.loop.evaluation.held_out import period_of

        data = run.data if period_of(run.data) is not None else str(beside / run.data)
    return Wanted(wanted.gate, wanted.candidate or run.candidate, wanted.champion or run.champion, data,
                  path(wanted.history, run.history), path(wanted.catalogue, run.catalogue),
                  wanted.surface or run.surface, path(wanted.config, run.config), wanted.directory)


def configuration(path: Path | None, directory: Path | None, needed: bool) -> Config | None:
    """The configuration, None where nothing asks for one and there is none."""
    file = path or FILE
    if not needed and path is None and not file.exists():
        return None
    return configured(path, directory=directory)


def is_target(name: str) -> bool:
    """A model by its function or URL, which no configuration need know."""
    return ":" in name


def _need(value: str | None, name: str, expected: str) -> str:
    if value is None:
        raise ConfigError(f"nothing says the {name}", expected=expected, hint=f"--{name}, or {name} under [run]")
    return value


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError("the report cannot be written", got=str(path), hint=str(error.strerror)) from None
