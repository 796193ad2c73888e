"""Fixtures for all tests: the real data beside the project (skips where it is absent)."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the real data are not beside the project")
    return SHARED


@pytest.fixture(scope="session")
def bonbid(shared_data: Path) -> Path:
    folder = shared_data / "bonbid-hie" / "BONBID2023_Train"
    if not folder.is_dir():
        pytest.skip("the BONBID-HIE cases are not beside the project")
    return folder
