"""The command line: `incumbent COMMAND`. Each command imports what it needs when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from incumbent.commands.baseline import baseline
from incumbent.commands.codes import exit_code
from incumbent.commands.drift import drift
from incumbent.commands.options import ConfigPath, Directory, Json, Key, Url
from incumbent.commands.quarantine import quarantine
from incumbent.commands.source import source
from incumbent.errors import IncumbentError

app = typer.Typer(name="incumbent", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Keeps a production recommender honest: serve, interleave, log, measure, judge, act.")
experiment = typer.Typer(no_args_is_help=True, help="List, start, hold and settle experiments.")
trace = typer.Typer(no_args_is_help=True, help="What happened to one request, or to one shopper.")
config = typer.Typer(no_args_is_help=True, help="The configuration.")
app.add_typer(experiment, name="experiment")
app.add_typer(trace, name="trace")
app.add_typer(config, name="config")
app.add_typer(quarantine, name="quarantine")
app.add_typer(drift, name="drift")
app.add_typer(baseline, name="baseline")
app.add_typer(source, name="source")

Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept for ever.", prompt=False)]
Name = Annotated[str, typer.Argument(help="The experiment's name.")]


@app.command()
def init(directory: Annotated[Path, typer.Argument(help="Where to.")] = Path()) -> None:
    """Write a commented configuration and a small shop that runs as it is."""
    from incumbent.commands.init import init as write

    for path in write(directory):
        typer.echo(f"wrote {path}")
    where = "" if directory == Path() else f"cd {directory} && "
    typer.echo(f"next: {where}incumbent serve")


@app.command()
def serve(
    path: ConfigPath = None,
    only: Annotated[list[str] | None, typer.Option(help="gateway, collector, loop or page; repeatable.")] = None,
    host: Annotated[str | None, typer.Option(help="Where to listen.")] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one.")] = None,
    directory: Directory = None,
) -> None:
    """Run the service until Ctrl-C: gateway, collector, loop and page, or only some of them."""
    from incumbent.commands.common import FILE, configured
    from incumbent.commands.serve import parts_of
    from incumbent.commands.serve import serve as run

    loaded = configured(path, port=port, directory=directory, host=host)
    raise typer.Exit(run(loaded, parts_of(only or []), search=(path or FILE).absolute().parent))


@app.command()
def demo(
    candidate: Annotated[str, typer.Option(help="worse, twin, identical or cf.")] = "cf",
    shoppers: Annotated[int | None, typer.Option(help="How many shoppers are replayed.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 1,
    port: Annotated[int, typer.Option(help="Where to listen.")] = 8000,
    directory: Annotated[Path, typer.Option("--dir", help="Where the demo keeps its data.")] = Path("incumbent-demo"),
    leave: Annotated[bool, typer.Option("--exit", help="End after the verdict; else the page stays open.")] = False,
    as_json: Json = False,
) -> None:
    """Replay real shopping trips against two real models, and reach a verdict."""
    from incumbent.commands.demo import demo as run

    raise typer.Exit(run(candidate=candidate, shoppers=shoppers, seed=seed, port=port, directory=directory,
                         leave=leave, as_json=as_json))


@experiment.command("list")
def experiment_list(path: ConfigPath = None, directory: Directory = None, url: Url = None, key: Key = None,
                    as_json: Json = False) -> None:
    """All experiments: configured, running and ended."""
    from incumbent.commands import experiment as commands

    commands.show_list(_desk(path, directory, url, key), as_json)


@experiment.command("show")
def experiment_show(name: Name, path: ConfigPath = None, directory: Directory = None, url: Url = None, key: Key = None,
                    as_json: Json = False) -> None:
    """One experiment: stage, evidence, what was decided and why."""
    from incumbent.commands import experiment as commands

    commands.show_one(_desk(path, directory, url, key), name, as_json)


def _step(step: str, text: str) -> None:
    """Add one step by hand as a command."""

    def command(name: Name, reason: Reason, path: ConfigPath = None, directory: Directory = None, url: Url = None,
                key: Key = None, as_json: Json = False) -> None:
        from incumbent.commands import experiment as commands

        asked = _desk(path, directory, url, key, make=directory is None)  # before the first `serve`, too
        commands.take_step(asked, name, step, reason, as_json)

    command.__doc__ = text
    experiment.command(step)(command)


_step("start", "Start a configured experiment; its definition is frozen from here on.")
_step("hold", "Keep the experiment at its stage; the rule does not move it.")
_step("resume", "Let the rule move a held experiment again.")
_step("promote", "Promote the candidate by hand, into the back-test or out of it.")
_step("discard", "End the experiment; the champion stays.")
_step("rollback", "Take the candidate away from shoppers at once.")


@trace.command("request")
def trace_request(request_id: Annotated[str, typer.Argument(help="As the answer gave it.")], path: ConfigPath = None,
                  directory: Directory = None, url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """Both lists, the coins, whose every slot is and why, what came of it, and how every rule credits that."""
    from incumbent.commands.trace import show_request

    show_request(_desk(path, directory, url, key).trace_request(request_id), as_json)


@trace.command("user")
def trace_user(user_id: Annotated[str, typer.Argument(help="As the shop knows them.")], path: ConfigPath = None,
               directory: Directory = None, url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """A shopper's requests, events and credited outcomes, experiments and exclusions."""
    from incumbent.commands.trace import show_user

    show_user(_desk(path, directory, url, key).trace_user(user_id), as_json)


@app.command()
def report(path: ConfigPath = None, directory: Directory = None, url: Url = None, key: Key = None,
           as_json: Json = False) -> None:
    """The latest numbers of every surface and experiment, each with its n and interval."""
    from incumbent.commands.metrics import show as show_metrics
    from incumbent.commands.report import show

    asked = _desk(path, directory, url, key)
    made, metrics = asked.report(), asked.metrics()
    show({**made, "metrics": metrics} if as_json else made, as_json)
    if not as_json:
        show_metrics(metrics)


@app.command()
def erase(user: Annotated[str, typer.Argument(help="The shop's id of the shopper.")], reason: Reason,
          path: ConfigPath = None, directory: Directory = None, url: Url = None, key: Key = None,
          as_json: Json = False) -> None:
    """Forget a shopper: inboxes, lake with all its versions, quarantine, matured rows. An audit row stays."""
    from incumbent.commands.desk import actor
    from incumbent.commands.erase import show

    show(_desk(path, directory, url, key).erase(user, actor=actor(), reason=reason), as_json)


@app.command()
def schema() -> None:
    """Print the JSON Schema of every event, to validate or to generate code by."""
    from incumbent.commands.schema import text

    typer.echo(text())


@app.command()
def check(names: Annotated[list[str] | None, typer.Argument(help="Suites; all where none is named.")] = None,
          as_json: Json = False) -> None:
    """Run the contract suites over every registered implementation, yours included."""
    from incumbent.commands.check import check as run

    raise typer.Exit(run(names or [], as_json))


@app.command()
def evaluate(
    gate: Annotated[Path, typer.Option("--gate", help="The expectations.")] = Path("gate.toml"),
    candidate: Annotated[str | None, typer.Option(help="A configured model, or module:function.")] = None,
    champion: Annotated[str | None, typer.Option(help="So; else the surface's own.")] = None,
    data: Annotated[str | None, typer.Option(help="A period (2026-03-01..2026-03-07), or interactions as Parquet or "
                                                  "CSV.")] = None,
    history: Annotated[Path | None, typer.Option(help="Earlier interactions, beside a file.")] = None,
    catalogue: Annotated[Path | None, typer.Option(help="Items, beside a file.")] = None,
    surface: Annotated[str | None, typer.Option(help="Whose requests; else the only one's.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page here.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json-file", help="Write JSON here.")] = None,
    off_policy: Annotated[bool, typer.Option("--off-policy", help="What an experiment's log says of each model "
                                                                   "alone, or of a --candidate never served.")] = False,
    experiment: Annotated[str | None, typer.Option(help="With --off-policy, where the period has several.")] = None,
    share: Annotated[float | None, typer.Option(help="With --off-policy: of the candidate; else 0 and 1.")] = None,
    path: ConfigPath = None, directory: Directory = None, as_json: Json = False,
) -> None:
    """Put held-out requests to a candidate and the champion; exit code 0 where every expectation holds, else 6."""
    if off_policy:
        from incumbent.commands.off_policy import show

        raise typer.Exit(show(data=data, share=share, experiment=experiment, surface=surface, config=path,
                              directory=directory, as_json=as_json, candidate=candidate))
    from incumbent.commands.evaluate import Wanted
    from incumbent.commands.evaluate import evaluate as run

    wanted = Wanted(gate, candidate, champion, data, history, catalogue, surface, path, directory)
    raise typer.Exit(run(wanted, junit=junit, html=html, json_file=json_file, as_json=as_json))


@config.command("check")
def config_check(path: ConfigPath = None) -> None:
    """Read the configuration and name every mistake at once."""
    from incumbent.commands.common import configured
    from incumbent.commands.config import summary

    typer.echo(summary(configured(path)))


def _desk(path: Path | None, directory: Path | None, url: str | None, key: str | None, *, make: bool = False) -> Any:
    from incumbent.commands.desk import desk

    return desk(path, directory, url, key, make=make)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; ends the process with its exit code, and errors are one message on standard error."""
    try:
        app(args=arguments)
    except IncumbentError as error:
        print(f"incumbent: {error}", file=sys.stderr)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(130)
