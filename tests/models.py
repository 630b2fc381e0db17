"""Where the trained models are that some tests read."""

import os
from pathlib import Path

MODELS = Path(os.environ.get("FASTDW_MODELS") or Path(__file__).parents[1] / "../shared/models").resolve()
