"""What the tests of the stores share."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def ram_path():
    """A directory in memory where there is one, for tests that sync thousands of times and pull no plug."""
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as path:
        yield Path(path)
