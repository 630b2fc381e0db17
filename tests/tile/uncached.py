"""Tasks of tests, which the kernel cache must not keep: it would not see them change."""

from __future__ import annotations

from functools import cached_property

from fastdw import jit


class Uncached(jit.Task):
    """The kernel cache knows fastdw's sources, not those of a test."""

    @cached_property
    def dispatcher(self):
        return jit._dispatcher(self.function, cached=False)
