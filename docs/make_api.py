"""Writes docs/api.md from the docstrings: python docs/make_api.py"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import fastdw
from fastdw import functional

PAGE = Path(__file__).with_name("api.md")
START = """# API reference

From the docstrings, by `python docs/make_api.py`. Every call takes and returns float32 arrays in NHWC.
"""


def fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```\n"


def members(owner: ModuleType | type) -> Iterator[tuple[str, object]]:
    """What is public in a module or class and defined there, in the order of the source."""
    module = owner.__name__ if isinstance(owner, ModuleType) else owner.__module__
    for name, value in vars(owner).items():
        source = value.fget if isinstance(value, property) else value
        if not name.startswith("_") and inspect.getdoc(value) and getattr(source, "__module__", None) == module:
            yield name, value


def signature(name: str, value: Callable) -> str:
    """Without annotations: the docstring says more."""
    parameters = [one.replace(annotation=one.empty) for one in inspect.signature(value).parameters.values() if one.name != "self"]
    return f"{name}{inspect.Signature(parameters)}".replace("'", '"')


def section(name: str, value: object, level: int = 2) -> Iterator[str]:
    yield f"{'#' * level} {name}\n"
    if callable(value):
        yield fenced("text", signature(name, value))  # no Python that a formatter would break anew
    yield fenced("text", inspect.getdoc(value) or "")
    if isinstance(value, (ModuleType, type)):
        for member, inner in members(value):
            yield from section(f"{name}.{member}", inner, level + 1)


def page() -> str:
    names = sorted(fastdw.__all__, key=lambda name: (isinstance(getattr(fastdw, name), ModuleType), name.lower()))
    parts = [START, fenced("text", inspect.getdoc(functional) or "")]
    for name in names:
        parts += section(f"fastdw.{name}", getattr(fastdw, name))
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
