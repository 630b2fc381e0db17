"""Problems written as words, one a line: `depthwise 56x56x128 kernel=3 stride=2`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fastdw import arguments
from fastdw.problem import CONV, DENSE, DEPTHWISE, POINTWISE, POOL, Padding, Pair, Problem
from fastdw.request import Request, Weight, check_results, contiguous, lay, problem_of

FORMS = {
    DEPTHWISE: "depthwise HEIGHTxWIDTHxCHANNELS [kernel=3] [stride=1] [dilation=1] [padding=same] [multiplier=1] [batch=1]",
    POINTWISE: "pointwise HEIGHTxWIDTHxCHANNELS out=CHANNELS [batch=1]",
    CONV: "conv HEIGHTxWIDTHxCHANNELS out=CHANNELS [kernel=3] [stride=1] [dilation=1] [padding=same] [batch=1]",
    DENSE: "dense CHANNELS out=CHANNELS [batch=1]",
    POOL: "pool HEIGHTxWIDTHxCHANNELS [batch=1]",
}
DEFAULTS = {"kernel": "3", "stride": "1", "dilation": "1", "padding": "same", "multiplier": "1", "batch": "1"}


def parse(text: str, threads: int = 0) -> Request:
    """The request that words state.

    Raises:
      ValueError: what came and what was expected.
    """
    kind, *rest = text.split() or [""]
    if kind not in FORMS:
        raise arguments.error("shape", repr(text.strip()), f"one of {', '.join(FORMS)}, then its sizes")
    form = FORMS[kind]
    sizes = rest[0].split("x") if rest else []
    if len(sizes) != (1 if kind == DENSE else 3) or not all(map(_is_count, sizes)):
        raise arguments.error("shape", repr(text.strip()), form)
    given = dict(DEFAULTS)
    for word in rest[1:]:
        name, _, value = word.partition("=")
        if f"{name}=" not in form or not value:
            raise arguments.error(kind, repr(word), form)
        given[name] = value
    if "out=" in form and "out" not in given:
        raise arguments.error(kind, "no out=CHANNELS", form)
    return _request(kind, [int(size) for size in sizes], given, threads)


def problem(text: str) -> Problem:
    """The problem that words state, over the runs of pixels that contiguous arrays have."""
    request = parse(text)
    stated, out_shape = problem_of(request)
    check_results(request, out_shape)
    return lay(request, stated, contiguous(out_shape))[0]


def read_file(path: Path) -> list[Problem]:
    """One problem a line; what follows a # is not read.

    Raises:
      ValueError: a line that is no problem, with its number; a file without any.
    """
    found = []
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError:
        raise arguments.error(str(path), "a file that is no text", "one shape a line") from None
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].strip()
        if words:
            try:
                found.append(problem(words))
            except ValueError as error:
                raise ValueError(f"{path}:{number}: {error}") from None
    if not found:
        raise arguments.error(str(path), "no shapes", f"one a line, such as: {FORMS[DEPTHWISE]}")
    return found


def _request(kind: str, sizes: list[int], given: dict[str, str], threads: int) -> Request:
    batch = _count("batch", given["batch"])
    x = contiguous((batch, *sizes))
    if kind == POOL:
        return Request(kind, x, threads=threads)
    channels = sizes[-1]
    weight: tuple[int, ...]
    if kind == DEPTHWISE:
        weight = (*_pair("kernel", given["kernel"]), channels, _count("multiplier", given["multiplier"]))
    else:
        out = _count("out", given["out"])
        weight = (*_pair("kernel", given["kernel"]), channels, out) if kind == CONV else (channels, out)
    shape = contiguous(weight)
    window: dict[str, Any] = {
        "stride": _pair("stride", given["stride"]),
        "dilation": _pair("dilation", given["dilation"]),
        "padding": _padding(given["padding"]),
    }
    return Request(kind, x, Weight(shape.shape, shape.strides), threads=threads, **(window if kind in (DEPTHWISE, CONV) else {}))


def _is_count(text: str) -> bool:
    return re.fullmatch(r"0*[1-9]\d{0,8}", text) is not None


def _count(name: str, text: str) -> int:
    if not _is_count(text):
        raise arguments.error(name, text, "a whole number of at least 1")
    return int(text)


def _pair(name: str, text: str) -> Pair:
    parts = text.split("x")
    if len(parts) > 2 or not all(map(_is_count, parts)):
        raise arguments.error(name, text, "a whole number of at least 1, or two: ROWSxCOLUMNS")
    return int(parts[0]), int(parts[-1])


def _padding(text: str) -> str | Padding:
    if text in arguments.PADDINGS:
        return text
    if re.fullmatch(r"\d{1,6}(x\d{1,6})?", text):
        rows, cols = (int(part) for part in (text.split("x") * 2)[:2])
        return ((rows, rows), (cols, cols))
    raise arguments.error("padding", text, f"one of {', '.join(arguments.PADDINGS)}, a number or ROWSxCOLUMNS")
