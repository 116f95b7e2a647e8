"""Where the engine's disk is looked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from balena_supervisor.adapters.engine import Engine
from balena_supervisor.adapters.engine_disk import EngineDisk
from balena_supervisor.errors import EngineUnavailable
from balena_supervisor.model.image import Platform
from tests.fakes.engine.simulated import SimulatedEngine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with SimulatedEngine(tmp_path) as simulated:
        made = Engine(simulated.url)
        yield made
        made.close()


def disk(engine: Engine, host: Path) -> EngineDisk:
    return EngineDisk(engine, data_mountpoint=host / "data", root_mountpoint=host / "root")


def test_the_data_partition_counts_when_there_is_one(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    space = disk(engine, tmp_path).space()
    assert space is not None
    assert 0 < space.free_bytes <= space.total_bytes


def test_else_the_folder_of_the_engine_below_the_root_of_the_host(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "root/var/lib/docker").mkdir(parents=True)
    assert disk(engine, tmp_path).space() is not None


def test_without_either_nothing_is_known(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    assert disk(engine, tmp_path).space() is None


def test_a_file_system_that_is_read_only_tells_nothing(engine: Engine) -> None:
    read_only = Path("/proc/sys")  # has no blocks at all, as a host's read-only root has no free ones
    made = EngineDisk(engine, data_mountpoint=read_only, root_mountpoint=read_only)
    assert made.space() is None


def test_the_platform_is_told_in_the_words_of_images(engine: Engine, tmp_path: Path) -> None:
    assert disk(engine, tmp_path).platform() == Platform(os="linux", architecture="amd64")


def test_an_engine_that_is_away_is_no_news_about_the_disk(tmp_path: Path) -> None:
    gone = Engine(f"unix://{tmp_path}/nothing.sock")
    with pytest.raises(EngineUnavailable):
        disk(gone, tmp_path).platform()
