"""Where the real models are, and which of them a test needs."""

import os
from pathlib import Path

import pytest

MODELS = Path(os.environ.get("FASTDW_MODELS") or Path(__file__).parents[2] / "../shared/models").resolve()


@pytest.fixture(scope="session")
def model_file():
    """The path of a file among the real models; the test is skipped where it is missing."""

    def find(name: str) -> Path:
        path = MODELS / name
        if not path.exists():
            pytest.skip(f"no {path}: set FASTDW_MODELS to the folder of the real models")
        return path

    return find
