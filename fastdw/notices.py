"""Warnings that are given once, however many threads or calls come upon their cause."""

from __future__ import annotations

import logging
from collections.abc import Hashable

LOG = logging.getLogger("fastdw")
_given: dict[Hashable, object] = {}


def warn_once(cause: Hashable, message: str, *arguments: object) -> None:
    """In a forked child too, what the parent has said is not said again."""
    mark = object()
    if _given.setdefault(cause, mark) is mark:  # atomic, where a test and an insertion would not be
        LOG.warning(message, *arguments)
