"""What commands share: the configuration they work on, and the way to a running service."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from incumbent.config import Config, load
from incumbent.errors import ConfigError, DataError, IncumbentError, NotFoundError, UnavailableError, heard
from incumbent.stores.store import Stores

FILE = Path("incumbent.toml")


def configured(path: Path | None, *, port: int | None = None, directory: Path | None = None,
               host: str | None = None) -> Config:
    """The configuration of a file, under the environment, under the flags of the command line.

    Flags go through the environment, so that they win wherever the configuration is read again. What it names as
    ``module:function`` can be imported from where the service does: the working directory, and the file's folder.
    """
    for section, value in (("SERVICE__PORT", port), ("SERVICE__HOST", host), ("STORES__DIRECTORY", directory)):
        if value is not None:
            os.environ[f"INCUMBENT_{section}"] = str(value)
    file = path or FILE
    if not file.exists():
        raise ConfigError("there is no configuration", got=str(file), expected="a TOML file",
                          hint="`incumbent init` writes one; --config names another")
    search(file.absolute().parent, Path.cwd())
    return load(file)


def search(*folders: Path) -> None:
    """Import modules from these folders too, the last one first."""
    for folder in map(str, folders):
        if folder not in sys.path:
            sys.path.insert(0, folder)


@contextmanager
def stores(config: Config, *, make: bool = False) -> Iterator[Stores]:
    """The stores of a directory, to read and to decide by; a service may run on it at the same time.

    `NotFoundError` where none were ever kept there, and nothing is written: only `make` begins new ones.
    """
    from incumbent.service.parts import clock_of, open_stores
    from incumbent.stores.embedded import kept

    directory = config.stores.directory
    if not make and config.stores.kind == "embedded" and not kept(directory):
        raise NotFoundError("no service has kept anything in this directory", got=str(directory), field="--dir",
                            expected="the data directory of a service",
                            hint="--dir or stores.directory names another; `incumbent serve` makes one")
    opened = open_stores(config, clock_of(config), "reader")
    try:
        yield opened
    finally:
        opened.log.close()
        opened.control.close()


class Remote:
    """A running service, spoken to over HTTP; the key comes from --key or INCUMBENT_KEY."""

    def __init__(self, url: str, key: str | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise DataError("not a URL", got=url, expected="http://HOST:PORT", field="--url")
        self._url = url.rstrip("/")
        self._key = key or os.environ.get("INCUMBENT_KEY")

    def get(self, path: str) -> Any:
        """The JSON behind a path."""
        return self._call("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON that a POST answers with."""
        return self._call("POST", path, body)

    def delete(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON that a DELETE answers with."""
        return self._call("DELETE", path, body)

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        headers = {"content-type": "application/json", "accept": "application/json"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(
            self._url + path, method=method, headers=headers, data=None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise _remote_error(error) from None
        except (OSError, ValueError) as error:
            raise UnavailableError("the service does not answer", got=self._url, hint=str(error)) from None


def _remote_error(error: urllib.error.HTTPError) -> IncumbentError:
    """The service's own error, as if it had happened here."""
    try:
        return heard(json.loads(error.read())["error"], error.code)
    except (ValueError, KeyError, TypeError, AttributeError):
        return UnavailableError("the service answered with an error", got=f"{error.code} {error.reason}")
