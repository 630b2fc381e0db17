"""docs/accuracy from training to its page, in short. Needs what the extra `tutorial` installs."""

import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[1] / "docs" / "accuracy"


@pytest.mark.slow
def test_training_and_report(tmp_path):
    for module in ("torch", "sklearn", "matplotlib"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    results, page = tmp_path / "results.jsonl", tmp_path / "page.md"
    page.write_text("before\n<!-- table: python docs/accuracy report -->\nold\n<!-- end of the table -->\nafter\n")
    files = ["--results", str(results), "--page", str(page)]
    short = ["train", "--tasks", "digits", "--seeds", "1", "--epochs", "1"]
    for arguments in (short, short, ["report"]):  # the second time nothing is left to train
        subprocess.run([sys.executable, str(TUTORIAL), *arguments, *files], check=True, timeout=600)
    assert len(results.read_text().splitlines()) == 5
    written = page.read_text()
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "old" not in written
    assert written.count("\n| digits |") == 5 + 5 + 9  # networks, their differences, numbers of terms
    assert "<svg" in page.with_suffix(".svg").read_text()
