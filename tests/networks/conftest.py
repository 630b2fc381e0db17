"""Where the real models are, and which of them a test needs."""

import sys
from pathlib import Path

import pytest
from models import MODELS

sys.path.append(str(Path(__file__).parents[2]))  # for bench, which writes models; the fastdw under test stays the one that comes first


@pytest.fixture(scope="session")
def model_file():
    """The path of a file among the real models; the test is skipped where it is missing."""

    def find(name: str) -> Path:
        path = MODELS / name
        if not path.exists():
            pytest.skip(f"no {path}: set FASTDW_MODELS to the folder of the real models")
        return path

    return find
