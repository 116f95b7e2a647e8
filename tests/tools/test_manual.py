"""The manual names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fakes.engine import SimulatedEngine

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def read_in_settings() -> set[str]:
    """Names of all environment variables that the settings are read from."""
    source = (ROOT / "balena_supervisor/settings.py").read_text()
    return set(re.findall(r'(?:text|number)\("([A-Z_]+)"', source))


def test_every_environment_variable_is_in_the_manual() -> None:
    manual = (ROOT / "docs/development.md").read_text()

    assert {name for name in read_in_settings() if f"`{name}`" not in manual} == set()
    assert len(read_in_settings()) > 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_and_link_in_a_page_leads_somewhere(page: Path) -> None:
    text = page.read_text()
    links = {page.parent / link for link in re.findall(r"\]\(([^):#]+)", text)}
    paths = {ROOT / path for path in re.findall(r"`((?:balena_supervisor|tests|tools|docs|\.ci)/[\w./-]*)`", text)}

    assert {str(path) for path in links | paths if not path.exists()} == set()


def test_every_order_to_the_simulated_engine_in_the_manual_exists() -> None:
    manual = (ROOT / "docs/development.md").read_text()

    orders = set(re.findall(r"^ +(?:\w+ = )?engine\.(\w+)\(", manual, re.MULTILINE))

    assert {order for order in orders if not hasattr(SimulatedEngine, order)} == set()
    assert "die_at" in orders
