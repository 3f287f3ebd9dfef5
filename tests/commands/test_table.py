"""Tables of commands: whole in a pipe, and readable in a terminal of 80 columns."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from incumbent.commands.table import show

HEAD = ("monitor", "by", "promised a window", "delivered", "")
ROWS = [("embeddings/titles/item/v1", "rank of each window", "0.0657", "0.0278", "kept"),
        ("items/home/popular", "e_rank", "0.0657", "", "too few windows: " + "so many words " * 9 + "[0, 1]")]


def printed(terminal: bool, width: int) -> str:
    file = io.StringIO()
    show(HEAD, ROWS, Console(file=file, force_terminal=terminal, width=width, highlight=False, markup=False))
    return file.getvalue()


@pytest.mark.parametrize("width", [20, 80, 400])
def test_a_pipe_has_every_word_of_a_row_on_its_line(width):
    lines = printed(False, width).splitlines()
    assert len(lines) == 3 and "…" not in "".join(lines)
    for line, row in zip(lines, [HEAD, *ROWS], strict=True):
        assert all(" ".join(cell.split()) in " ".join(line.split()) for cell in row) and line == line.rstrip()
    assert lines[0].index("promised") == lines[1].index("0.0657") == lines[2].index("0.0657")


def test_a_narrow_terminal_has_a_block_for_each_row():
    lines = printed(True, 80).splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in "".join(lines)
    assert lines[0] == ROWS[0][0]
    assert lines[1] == "  by: rank of each window; promised a window: 0.0657; delivered: 0.0278; kept"
    assert lines[2] == ROWS[1][0] and lines[3].startswith("  by: e_rank; promised a window: 0.0657; too few windows")
    assert "[0, 1]" in lines[-1]


def test_a_wide_terminal_has_a_table():
    lines = printed(True, 400).splitlines()
    assert len(lines) == 3 and "promised a window" in lines[0]
