"""Where the real models are, and which of them a test needs."""

from pathlib import Path

import pytest
from models import MODELS


@pytest.fixture(scope="session")
def model_file():
    """The path of a file among the real models; the test is skipped where it is missing."""

    def find(name: str) -> Path:
        path = MODELS / name
        if not path.exists():
            pytest.skip(f"no {path}: set FASTDW_MODELS to the folder of the real models")
        return path

    return find
