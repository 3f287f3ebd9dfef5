"""`incumbent init`: a commented configuration and a shop of two models that runs as it is."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from incumbent.errors import ConflictError, StoreError

FILES = ("incumbent.toml", "shop.py")


def init(directory: Path) -> list[Path]:
    """Write the example into a directory; `ConflictError` where any of its files is there already: all or nothing."""
    there = [directory / name for name in FILES if (directory / name).exists()]
    if there:
        raise ConflictError("init does not overwrite", got=", ".join(map(str, there)),
                            expected="a directory without them", hint="incumbent init ANOTHER_DIRECTORY")
    example = files("incumbent.commands") / "example"
    written = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            with (directory / name).open("x", encoding="utf-8") as file:
                file.write((example / name).read_text(encoding="utf-8"))
            written.append(directory / name)
    except OSError as error:
        raise StoreError("the directory cannot be written", got=str(directory), hint=str(error.strerror)) from None
    return written
