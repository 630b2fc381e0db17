"""Wrong calls: each is refused before any compiled code runs, with the argument, what came and what was wanted."""

import re

import numpy as np
import pytest
from wrong_calls import DEPTHWISE, WRONG, X, with_value, zeros

import fastdw


def name_of(wrong) -> str:
    (call, _arguments), _, argument, got, _ = wrong
    return f"{call}-{argument}-{got}"


@pytest.mark.parametrize("wrong", WRONG, ids=name_of)
def test_wrong_call_is_refused(wrong):
    (call, arguments), error, argument, got, expected = wrong
    with pytest.raises(error) as caught:
        getattr(fastdw, call)(**arguments)
    assert_message(str(caught.value), argument, got, expected)


def assert_message(message: str, argument: str, got: str, expected: str) -> None:
    """One short line "<argument>: got <what came>; expected <what was wanted>" with those words."""
    assert len(message) <= 200
    assert "\n" not in message
    assert_matches(rf"^({argument}): got [^;]*({got})[^;]*; expected .*({expected})", message)


def assert_matches(pattern: str, message: str) -> None:
    assert re.search(pattern, message), f"{message!r} does not say {pattern!r}"


def test_nothing_is_written_when_a_call_is_refused():
    out = np.full((1, 6, 7, 16), 7, np.float32)
    with pytest.raises(ValueError, match=r"^bias: "):
        fastdw.depthwise_conv2d(X, DEPTHWISE, with_value(zeros(16), np.nan), out=out)
    assert (out == 7).all()


def test_an_unknown_keyword_is_a_type_error():
    with pytest.raises(TypeError, match="strides"):
        fastdw.depthwise_conv2d(X, DEPTHWISE, strides=2)


def test_strict_mode_refuses_the_reference_kernel(monkeypatch):
    arguments = {"x": np.ones((1, 91, 91, 4), np.float32), "weight": np.ones((91, 91, 4, 2), np.float32)}
    plan = fastdw.explain(fastdw.depthwise_conv2d, **arguments)
    assert "reference" in plan.kernel, "served by a vectorised kernel now: this test needs another problem"
    fastdw.depthwise_conv2d(**arguments)
    monkeypatch.setenv("FASTDW_STRICT", "1")
    with pytest.raises((RuntimeError, ValueError), match=r"strict.*reference kernel"):
        fastdw.depthwise_conv2d(**arguments)
    assert fastdw.depthwise_conv2d(X, DEPTHWISE) is not None
