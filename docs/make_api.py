"""Writes docs/api.md from the docstrings: python docs/make_api.py"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import fastdw
from fastdw import functional, networks

PAGE = Path(__file__).with_name("api.md")
START = """# API reference

From the docstrings, by `python docs/make_api.py`. Every call takes and returns float32 arrays in NHWC.
"""
RESULTS = ("Cost", "Decoupled", "PlannedLayer", "Stream", "TuningReport")  # calls make them, users do not


def fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```\n"


def members(owner: ModuleType | type) -> Iterator[tuple[str, object]]:
    """What is public in a module or class and defined there, in the order of the source; of a package what it lists."""
    module = owner.__name__ if isinstance(owner, ModuleType) else owner.__module__
    names = sorted(owner.__all__, key=str.lower) if hasattr(owner, "__all__") else vars(owner)
    for name in names:
        value = vars(owner)[name]
        source = getattr(value.fget if isinstance(value, property) else value, "__module__", None) or ""
        is_public = name == "__call__" or not name.startswith("_")
        if is_public and inspect.getdoc(value) and (source == module or source.startswith(f"{module}.")):
            yield name, value


def signature(name: str, value: Callable) -> str:
    """Without annotations: the docstring says more."""
    parameters = [one.replace(annotation=one.empty) for one in inspect.signature(value).parameters.values() if one.name != "self"]
    return f"{name}{inspect.Signature(parameters)}".replace("'", '"')


def section(name: str, value: object, level: int = 2) -> Iterator[str]:
    yield f"{'#' * level} {name}\n"
    if callable(value) and name.rpartition(".")[2] not in RESULTS:
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
    parts += section("fastdw.networks", networks)
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
