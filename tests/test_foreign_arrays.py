"""Arrays of other libraries, through __array_interface__ and DLPack: the same bits without a copy, and errors that say what came."""

import foreign
import numpy as np
import problems
import pytest
import stated_order

import fastdw

X = np.random.default_rng(0).standard_normal((1, 8, 9, 16), np.float32)
WEIGHT = np.random.default_rng(1).standard_normal((16, 24), np.float32)


def full_case(call: str) -> problems.Case:
    """The first case in which every array that the call takes is given."""
    most = max(len(case.arrays) for case in problems.cases(call, 0, 40))
    return next(case for case in problems.cases(call, 0, 40) if len(case.arrays) == most)


@pytest.mark.parametrize("protocol", foreign.PROTOCOLS)
@pytest.mark.parametrize("call", problems.CALLS)
def test_every_argument_may_be_foreign(call, protocol):
    case = full_case(call)
    expected = case.run(fastdw)
    for name, array in case.arrays.items():
        if protocol is foreign.WithDLPack:
            array = array.copy()  # NumPy exports no read-only array
        stated_order.check_bits(case.run(fastdw, **{name: protocol(array)}), expected, name)


@pytest.mark.parametrize("protocol", foreign.PROTOCOLS)
def test_nothing_is_copied(protocol):
    """Or an out over x would not be noticed."""
    x = X.copy()
    square = WEIGHT[:, :16]
    with pytest.raises(ValueError, match=r"^out: got an array that overlaps x; "):
        fastdw.pointwise_conv2d(protocol(x), square, out=x)
    with pytest.raises(ValueError, match=r"^out: got an array that overlaps residual; "):
        fastdw.pointwise_conv2d(X, square, residual=protocol(x), out=x)
    layer = fastdw.prepare(fastdw.separable_conv2d, x.shape, np.ones((1, 1, 16), np.float32), square)
    with pytest.raises(ValueError, match=r"^out: got an array that overlaps x; "):
        layer(protocol(x), x)


@pytest.mark.parametrize("protocol", foreign.PROTOCOLS)
def test_prepared_layers_take_foreign_arrays(protocol):
    residual = X[..., :1] * np.ones(24, np.float32)
    expected = fastdw.pointwise_conv2d(X, WEIGHT, residual=residual)
    layer = fastdw.prepare(fastdw.pointwise_conv2d, X.shape, protocol(WEIGHT), residual=True)
    stated_order.check_bits(layer(protocol(X), residual=protocol(residual)), expected, "prepared")


def test_a_read_only_interface_is_taken():
    x = X.copy()
    x.flags.writeable = False
    stated_order.check_bits(fastdw.pointwise_conv2d(foreign.WithInterface(x), WEIGHT), fastdw.pointwise_conv2d(X, WEIGHT), "read-only")


@pytest.mark.parametrize("protocol", foreign.PROTOCOLS)
def test_a_weight_packed_from_a_foreign_array(protocol):
    packed = fastdw.pack_pointwise(protocol(WEIGHT))
    stated_order.check_bits(fastdw.pointwise_conv2d(X, packed), fastdw.pointwise_conv2d(X, WEIGHT), "packed")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (foreign.WithDLPack(X.astype(np.float64)), r"^x: got float64; expected float32$"),
        (foreign.WithDLPack(X.astype(np.int8)), r"^x: got int8; expected float32$"),
        (foreign.WithInterface(X.astype(np.float16)), r"^x: got float16; expected float32$"),
        (foreign.OnAnotherDevice(), r"^x: got OnAnotherDevice in the memory of a CUDA device; expected a float32 array in the CPU's$"),
        (foreign.Unreadable(), r"^x: got Unreadable that NumPy cannot view .*requires.*gradients.*; expected a float32 array$"),
        (foreign.WithBrokenInterface(), r"^x: got WithBrokenInterface that NumPy cannot view .*; expected a float32 array$"),
        (type("WithArray", (), {"__array__": lambda self: X})(), r"^x: got WithArray; expected a float32 array$"),
    ],
)
def test_what_cannot_be_taken_is_named(x, message):
    with pytest.raises(TypeError, match=message) as caught:
        fastdw.pointwise_conv2d(x, WEIGHT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("out", [foreign.WithDLPack(X), foreign.WithInterface(X)])
def test_out_is_a_numpy_array(out):
    with pytest.raises(TypeError, match=rf"^out: got {type(out).__name__}; expected a float32 NumPy array$"):
        fastdw.pointwise_conv2d(X, WEIGHT, out=out)


def test_an_nchw_view_of_nhwc_memory_is_named():
    """What PyTorch calls channels_last."""
    with pytest.raises(ValueError, match=r"^x: got channels 64 bytes apart; expected .*NCHW view.*transpose\(0, 2, 3, 1\)$"):
        fastdw.pointwise_conv2d(X.transpose(0, 3, 1, 2), WEIGHT)


# ---- PyTorch ----


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the torch package")


def test_tensors_are_taken_without_a_copy(torch):
    x, weight = torch.from_numpy(X.copy()), torch.from_numpy(WEIGHT[:, :16].copy())
    expected = fastdw.pointwise_conv2d(X, WEIGHT[:, :16])
    stated_order.check_bits(fastdw.pointwise_conv2d(x, weight), expected, "tensors")
    with pytest.raises(ValueError, match=r"^out: got an array that overlaps x; "):
        fastdw.pointwise_conv2d(x, weight, out=x.numpy())


def test_channels_last_tensors_are_taken_without_a_copy(torch):
    x = torch.from_numpy(X.transpose(0, 3, 1, 2).copy()).contiguous(memory_format=torch.channels_last)
    images = x.permute(0, 2, 3, 1)
    stated_order.check_bits(fastdw.pointwise_conv2d(images, WEIGHT), fastdw.pointwise_conv2d(X, WEIGHT), "channels last")
    with pytest.raises(ValueError, match=r"^x: got channels .* apart; expected .*NCHW view"):
        fastdw.pointwise_conv2d(x, WEIGHT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.double(), r"^x: got float64; expected float32$"),
        (lambda x: x.bfloat16(), r"^x: got Tensor of torch.bfloat16 that NumPy cannot view .*; expected a float32 array$"),
        (lambda x: x.requires_grad_(), r"^x: got Tensor of torch.float32 that NumPy cannot view .*gradient.*; expected a float32 array$"),
        (lambda x: x.to("meta"), r"^x: got Tensor of torch.float32 that NumPy cannot view .*meta.*; expected a float32 array$"),
    ],
)
def test_tensors_that_cannot_be_taken_are_named(torch, change, message):
    with pytest.raises(TypeError, match=message):
        fastdw.pointwise_conv2d(change(torch.from_numpy(X.copy())), WEIGHT)
