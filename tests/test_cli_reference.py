"""The documents of configuration and command line say what the code says."""

import re
from pathlib import Path

from incumbent.commands.reference import page
from incumbent.service.metrics import CATALOGUE

ROOT = Path(__file__).resolve().parents[1]


def test_the_configuration_page_is_up_to_date():
    written = (ROOT / "docs" / "operate" / "configuration.md").read_text()
    assert written == page(), "python -m incumbent.commands.reference > docs/operate/configuration.md"


def test_every_key_of_the_configuration_is_explained():
    bare = [line for line in page().splitlines() if line.startswith("| `") and line.rstrip().endswith("|  |")]
    assert not bare


def test_every_metric_is_documented():
    text = (ROOT / "docs" / "serve" / "service.md").read_text()
    documented = {re.sub("_total$", "", name) for name in re.findall(r"`(incumbent_\w+)`", text)}
    assert set(CATALOGUE) <= documented, set(CATALOGUE) - documented


def test_every_route_is_documented():
    source = (ROOT / "src" / "incumbent" / "service" / "control.py").read_text()
    text = (ROOT / "docs" / "serve" / "service.md").read_text().lower()
    for path in re.findall(r'@router\.\w+\("(/[a-z]+)', source):
        assert f"/v1{path}" in text, path
