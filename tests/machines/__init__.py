"""What /proc and /sys of several machines tell, one file a machine, as `tail -v -n +1 FILE...` prints it on the machine itself.

Lay one under a directory:  python tests/machines/__init__.py raspberry-pi-4 DIRECTORY
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.txt"))


def lay(name: str, root: Path) -> Path:
    """Every file of the machine, under root."""
    parts = re.split(r"^==> (.+) <==\n", (FOLDER / f"{name}.txt").read_text(), flags=re.MULTILINE)
    for path, text in zip(parts[1::2], parts[2::2], strict=True):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text.rstrip()}\n")
    return root


if __name__ == "__main__":
    lay(sys.argv[1], Path(sys.argv[2]))
