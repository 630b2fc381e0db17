"""A bar on the standard error: layers done, the best gain so far, and the time left."""

from __future__ import annotations

from typing import Any

from fastdw.tuning.report import Row
from fastdw.tuning.session import Progress


class Bar(Progress):
    def __init__(self) -> None:
        self._bar: Any = None

    def begin(self, count: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=count, unit="layer", leave=False, bar_format="{n_fmt}/{total_fmt} layers |{bar:30}| {postfix}")

    def advance(self, row: Row, best_gain: float, seconds_left: float) -> None:
        left = max(0, round(seconds_left))
        self._bar.set_postfix_str(f"best gain {best_gain:.2f}, {left // 60}:{left % 60:02} left", refresh=False)
        self._bar.update()

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
