"""PyTorch's own tests of convolution: its configurations against the oracle, and against PyTorch where it is installed."""

import warnings

import numpy as np
import pytest
import torch_cases
from channels_first import conv, linear

CASES = dict(torch_cases.MODULE_TESTS)
for number, (x, *rest) in enumerate(torch_cases.CONV_SAMPLES):
    name = f"conv{len(x) - 2}d_sample{number}"
    CASES |= {name: (x, *rest), f"{name}_unbatched": (x[1:], *rest)}
CASES |= {f"linear_sample{number}": case for number, case in enumerate(torch_cases.LINEAR_SAMPLES)}


def reason_not_covered(x_shape, weight_shape, keywords) -> str | None:
    if 0 in x_shape:
        return "nothing to compute: fastdw takes arrays with every extent at least 1"
    if keywords.get("padding_mode", "zeros") != "zeros":
        return f"padding by {keywords['padding_mode']}: fastdw pads with zeros"
    if len(weight_shape) > 4:
        return f"{len(weight_shape) - 2} axes: fastdw convolves over one or two"
    return None


def run(x, weight, bias, keywords) -> tuple[np.ndarray, np.ndarray]:
    """The result, checked call by call, and its float64 value."""
    if weight.ndim <= 2:
        y, value = linear(x, weight.reshape(-1, x.shape[-1]), bias)
        return (y, value) if weight.ndim == 2 else (y[..., 0], value[..., 0])
    return conv(x, weight, bias, **{"padding": 0} | {k: v for k, v in keywords.items() if k != "padding_mode"})


def draw(x_shape, weight_shape, has_bias):
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape, np.float32) for shape in (x_shape, weight_shape))
    return x, weight, rng.standard_normal(weight_shape[0], np.float32) if has_bias else None


@pytest.mark.parametrize("name", CASES)
def test_configuration(name):
    x_shape, weight_shape, has_bias, keywords = CASES[name]
    reason = reason_not_covered(x_shape, weight_shape, keywords)
    if reason:
        pytest.skip(reason)
    arrays = draw(x_shape, weight_shape, has_bias)
    _, value = run(*arrays, keywords)
    torch = installed()
    if torch is not None:
        np.testing.assert_allclose(value, by_torch(torch, *arrays, keywords), rtol=1e-10, atol=1e-12)


def installed():
    try:
        import torch
    except ImportError:
        return None
    return torch


def by_torch(torch, x, weight, bias, keywords) -> np.ndarray:
    """In float64."""
    x, weight, bias = (None if array is None else torch.from_numpy(array).double() for array in (x, weight, bias))
    functional = torch.nn.functional
    function = {3: functional.conv1d, 4: functional.conv2d}.get(weight.ndim, functional.linear)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a copy that it makes
        return function(x, weight, bias, **{k: v for k, v in keywords.items() if k != "padding_mode"}).numpy()


def test_samples_of_the_installed_torch():
    """Those of this version, which may have more than the list above."""
    torch = pytest.importorskip("torch", reason="needs the torch package")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        invocations = pytest.importorskip("torch.testing._internal.common_methods_invocations", reason="needs torch's test requirements")
    n_run, reasons = 0, []
    for op in invocations.op_db:
        if op.name in ("nn.functional.conv1d", "nn.functional.conv2d", "nn.functional.conv3d", "nn.functional.linear"):
            for sample in op.sample_inputs("cpu", torch.float32):
                weight, bias = [*sample.args, None][:2]
                reason = reason_not_covered(sample.input.shape, weight.shape, sample.kwargs)
                if reason:
                    reasons.append(reason)
                    continue
                arrays = [None if tensor is None else tensor.numpy() for tensor in (sample.input, weight, bias)]
                _, value = run(*arrays, sample.kwargs)
                np.testing.assert_allclose(value, by_torch(torch, *arrays, sample.kwargs), rtol=1e-10, atol=1e-12)
                n_run += 1
    assert n_run >= 50
    assert set(reasons) <= {reason_not_covered((0,), (), {}), reason_not_covered((1,), (1,) * 5, {})}
    print(f"{n_run} samples ran, {len(reasons)} did not: {sorted(set(reasons))}")
