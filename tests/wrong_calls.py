"""The table of wrong calls: what each is refused with."""

import math

import foreign
import numpy as np

import fastdw

X = np.zeros((1, 8, 9, 16), np.float32)
DEPTHWISE = np.ones((3, 3, 16, 1), np.float32)
POINTWISE = np.ones((16, 24), np.float32)
CONV = np.ones((3, 3, 16, 24), np.float32)
DENSE = np.ones((16, 24), np.float32)
ROWS = np.zeros((2, 16), np.float32)


def zeros(*shape: int, dtype=np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def unaligned(array: np.ndarray) -> np.ndarray:
    """Its elements two bytes off."""
    return np.frombuffer(b"--" + array.tobytes(), array.dtype, offset=2).reshape(array.shape)


def as_strided(*strides: int) -> np.ndarray:
    """[1, 8, 9, 24] with elements that share memory."""
    return np.lib.stride_tricks.as_strided(zeros(8 * 9 * 24), (1, 8, 9, 24), strides)


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array.flat[array.size // 2] = value
    return array


def overlapping(offset: int) -> dict:
    """x and out of pointwise_conv2d 16 -> 16 in one buffer, out beginning offset floats after x."""
    buffer = zeros(X.size * 3)
    start = X.size
    x, out = (buffer[i : i + X.size].reshape(X.shape) for i in (start, start + offset))
    return {"x": x, "weight": np.ones((16, 16), np.float32), "out": out}


def residual_under_out() -> dict:
    out = zeros(1, 8, 9, 24)
    return {"residual": out[:], "out": out}


def weight_under_out() -> dict:
    out = np.ones((1, 8, 9, 24), np.float32)
    return {"weight": out.reshape(-1)[: 16 * 24].reshape(16, 24), "out": out}


def separable_under_out(**under: tuple[int, ...]) -> tuple[str, dict]:
    """out of separable_conv2d, and the argument of a given shape at its beginning."""
    out = np.ones((1, 6, 7, 24), np.float32)
    return separable(**{name: out.reshape(-1)[: math.prod(shape)].reshape(shape) for name, shape in under.items()}, out=out)


def depthwise(**changes) -> tuple[str, dict]:
    return "depthwise_conv2d", {"x": X, "weight": DEPTHWISE} | changes


def pointwise(**changes) -> tuple[str, dict]:
    return "pointwise_conv2d", {"x": X, "weight": POINTWISE} | changes


def conv(**changes) -> tuple[str, dict]:
    return "conv2d", {"x": X, "weight": CONV} | changes


def separable(**changes) -> tuple[str, dict]:
    return "separable_conv2d", {"x": X, "depthwise_weight": DEPTHWISE, "pointwise_weight": POINTWISE} | changes


def expanding(**changes) -> tuple[str, dict]:
    """A gate needs all of the expanded image, which has 64 channels for each of x."""
    weights = {"expand_weight": np.ones((16, 1024), np.float32), "depthwise_weight": np.ones((3, 3, 1024, 1), np.float32)}
    gate = fastdw.SqueezeExcite(np.ones((1024, 8), np.float32), np.ones((8, 1024), np.float32))
    return "inverted_residual", {"project_weight": np.ones((1024, 24), np.float32), "squeeze_excite": gate} | weights | changes


def dense(**changes) -> tuple[str, dict]:
    return "dense", {"x": ROWS, "weight": DENSE} | changes


def pool(**changes) -> tuple[str, dict]:
    return "global_average_pool2d", {"x": X} | changes


def pack(kind: str, weight, **changes) -> tuple[str, dict]:
    return f"pack_{kind}", {"weight": weight} | changes


def huge(*extents: int) -> np.ndarray:
    """In memory of one pixel; there is none for its result."""
    return np.broadcast_to(zeros(16), (*extents, 16))


# the wrong call, the error, the argument at fault, words of what came, words of what was wanted
WRONG = [
    # x
    (depthwise(x=None), TypeError, "x", "None", "array"),
    (depthwise(x=X.tolist()), TypeError, "x", "list", "array"),
    (depthwise(x=X.astype(object)), TypeError, "x", "object", "float32"),
    (depthwise(x=X.astype(np.float64)), TypeError, "x", "float64", "float32"),
    (depthwise(x=X.astype(np.float16)), TypeError, "x", "float16", "float32"),
    (depthwise(x=X.astype(np.uint8)), TypeError, "x", "uint8", "float32"),
    (depthwise(x=X.astype(np.complex64)), TypeError, "x", "complex64", "float32"),
    (depthwise(x=X.astype(X.dtype.newbyteorder())), TypeError, "x", ">f4|swapped|big", "float32"),
    (pointwise(x=X.astype(np.float64)), TypeError, "x", "float64", "float32"),
    (conv(x="photo.jpg"), TypeError, "x", "str", "array"),
    (dense(x=ROWS.astype(np.int32)), TypeError, "x", "int32", "float32"),
    (pool(x=None), TypeError, "x", "None", "array"),
    (depthwise(x=X[0]), ValueError, "x", "3|shape", "4|batch"),
    (pointwise(x=X[None]), ValueError, "x", "5|shape", "4|batch"),
    (dense(x=X), ValueError, "x", "4|shape", "2|batch"),
    (pool(x=ROWS), ValueError, "x", "2|shape", "4|batch"),
    (conv(x=np.float32(1)), (TypeError, ValueError), "x", "", "array|4|batch"),
    (depthwise(x=zeros(0, 8, 9, 16)), ValueError, "x", "0", "1|empty|positive"),
    (depthwise(x=zeros(1, 0, 9, 16)), ValueError, "x", "0", "1|empty|positive"),
    (pointwise(x=zeros(1, 8, 0, 16)), ValueError, "x", "0", "1|empty|positive"),
    (depthwise(x=zeros(1, 8, 9, 0), weight=zeros(3, 3, 0, 1)), ValueError, "x", "0", "1|empty|positive"),
    (dense(x=zeros(0, 16)), ValueError, "x", "0", "1|empty|positive"),
    (pool(x=zeros(1, 0, 9, 16)), ValueError, "x", "0", "1|empty|positive"),
    (depthwise(x=zeros(1, 8, 9, 32)[..., ::2]), ValueError, "x", "apart", "next to each other"),
    (depthwise(x=X[..., ::-1]), ValueError, "x", "apart", "next to each other"),
    (dense(x=zeros(16, 2).T), ValueError, "x", "apart", "next to each other"),
    (depthwise(x=zeros(1, 16, 8, 9)), ValueError, "x|weight", "", "NCHW"),
    (pointwise(x=zeros(1, 16, 8, 9)), ValueError, "x|weight", "", "NCHW"),
    (conv(x=zeros(1, 16, 8, 9)), ValueError, "x|weight", "", "NCHW"),
    (separable(x=zeros(1, 16, 8, 9)), ValueError, "x|depthwise_weight", "", "NCHW"),
    (depthwise(x=unaligned(X)), ValueError, "x", "aligned", "aligned"),
    (depthwise(x=np.ma.masked_array(X)), TypeError, "x", "mask", "float32"),
    # weight
    (depthwise(weight=None), TypeError, "weight", "None", "array"),
    (depthwise(weight=DEPTHWISE.tolist()), TypeError, "weight", "list", "array"),
    (depthwise(weight=DEPTHWISE.astype(np.float64)), TypeError, "weight", "float64", "float32"),
    (depthwise(weight=zeros(3, 3, 7, 1)), ValueError, "weight", "7", "16"),
    (depthwise(weight=zeros(3, 3)), ValueError, "weight", "2|shape", "kernel_h"),
    (depthwise(weight=zeros(3, 3, 16, 1, 1)), ValueError, "weight", "5|shape", "kernel_h"),
    (depthwise(weight=np.ones((1,) * 64, np.float32)), ValueError, "weight", "shape|64", "kernel_h"),
    (depthwise(weight=zeros(3, 3, 16, 0)), ValueError, "weight", "0", "1|empty|positive"),
    (depthwise(weight=zeros(0, 3, 16, 1)), ValueError, "weight", "0", "1|empty|positive"),
    (depthwise(weight=with_value(DEPTHWISE, np.nan)), ValueError, "weight", "NaN", "finite"),
    (pointwise(weight=with_value(POINTWISE, np.inf)), ValueError, "weight", "infinit", "finite"),
    (conv(weight=with_value(CONV, -np.inf)), ValueError, "weight", "infinit", "finite"),
    (dense(weight=with_value(DENSE, np.nan)), ValueError, "weight", "NaN", "finite"),
    (pointwise(weight=zeros(15, 24)), ValueError, "weight", "15", "16"),
    (pointwise(weight=zeros(3, 3, 16, 24)), ValueError, "weight", "3", "1"),
    (pointwise(weight=zeros(16)), ValueError, "weight", "1|shape", "in"),
    (pointwise(weight=zeros(16, 0)), ValueError, "weight", "0", "1|empty|positive"),
    (conv(weight=zeros(3, 3, 8, 24)), ValueError, "weight", "8", "16"),
    (conv(weight=zeros(3, 3, 16)), ValueError, "weight", "3|shape", "kernel_h"),
    (dense(weight=zeros(24, 16)), ValueError, "weight", "24", "16"),
    (dense(weight=zeros(16)), ValueError, "weight", "1|shape", "in"),
    (separable(depthwise_weight=zeros(3, 3, 8, 1)), ValueError, "depthwise_weight", "8", "16"),
    (separable(pointwise_weight=zeros(8, 24)), ValueError, "pointwise_weight", "8", "16"),
    (separable(pointwise_weight=with_value(POINTWISE, np.nan)), ValueError, "pointwise_weight", "NaN", "finite"),
    (pack("depthwise", with_value(DEPTHWISE, np.inf)), ValueError, "weight", "infinit", "finite"),
    (pack("pointwise", with_value(POINTWISE, np.nan)), ValueError, "weight", "NaN", "finite"),
    (pack("conv2d", CONV.astype(np.float64)), TypeError, "weight", "float64", "float32"),
    (pack("depthwise", zeros(3, 3)), ValueError, "weight", "2|shape", "kernel_h"),
    (pack("pointwise", zeros(3, 3, 16, 24)), ValueError, "weight", "3", "1"),
    (pack("conv2d", None), TypeError, "weight", "None", "array"),
    (pack("depthwise", DEPTHWISE, flush_subnormals="yes"), TypeError, "flush_subnormals", "str|yes", "bool|True"),
    # bias
    (depthwise(bias=zeros(15)), ValueError, "bias", "15", "16"),
    (pointwise(bias=zeros(16)), ValueError, "bias", "16", "24"),
    (conv(bias=zeros(1, 24)), ValueError, "bias", "2|shape|1, 24", "24"),
    (depthwise(bias=zeros(16, dtype=np.float64)), TypeError, "bias", "float64", "float32"),
    (depthwise(bias=[0.0] * 16), TypeError, "bias", "list", "array"),
    (pointwise(bias=0.5), TypeError, "bias", "float", "array"),
    (depthwise(bias=with_value(zeros(16), np.nan)), ValueError, "bias", "NaN", "finite"),
    (dense(bias=with_value(zeros(24), np.inf)), ValueError, "bias", "infinit", "finite"),
    (separable(depthwise_bias=zeros(24)), ValueError, "depthwise_bias", "24", "16"),
    (separable(pointwise_bias=zeros(16)), ValueError, "pointwise_bias", "16", "24"),
    # stride, dilation, padding
    (depthwise(stride=0), ValueError, "stride", "0", "1|positive"),
    (depthwise(stride=-1), ValueError, "stride", "-1", "1|positive"),
    (depthwise(stride=(1, 0)), ValueError, "stride", "0", "1|positive"),
    (depthwise(stride=(1, 2, 1)), ValueError, "stride", "1, 2, 1", "two|pair|int"),
    (depthwise(stride=1.5), TypeError, "stride", "1.5|float", "int"),
    (depthwise(stride="2"), TypeError, "stride", "str|2", "int"),
    (depthwise(stride=None), TypeError, "stride", "None", "int"),
    (conv(stride=True), TypeError, "stride", "True|bool", "int"),
    (conv(dilation=0), ValueError, "dilation", "0", "1|positive"),
    (conv(dilation=(2, -2)), ValueError, "dilation", "-2", "1|positive"),
    (depthwise(stride=2**70), ValueError, "stride", "1180591620717411303424", ""),
    (depthwise(padding=2**70), ValueError, "padding", "1180591620717411303424", ""),
    (depthwise(padding=np.array([[1, 2], [0, 0]])), TypeError, "padding", "array", "top"),
    (separable(dilation=2.0), TypeError, "dilation", "2.0|float", "int"),
    (depthwise(padding="full"), ValueError, "padding", "full", "same"),
    (depthwise(padding="VALID"), ValueError, "padding", "VALID", "valid"),
    (depthwise(padding=-1), ValueError, "padding", "-1", "0|negative"),
    (depthwise(padding=(1, -1)), ValueError, "padding", "-1", "0|negative"),
    (depthwise(padding=((0, 0), (0, -3))), ValueError, "padding", "-3", "0|negative"),
    (depthwise(padding=(1, 1, 1, 1)), ValueError, "padding", "1, 1, 1, 1", "top"),
    (depthwise(padding=1.0), TypeError, "padding", "1.0|float", "int"),
    (depthwise(padding=None), TypeError, "padding", "None", "valid|int"),
    (depthwise(weight=np.ones((9, 3, 16, 1), np.float32)), ValueError, "weight|x|padding", "9", "8"),
    (conv(dilation=5), ValueError, "weight|x|padding|dilation", "11", "8|9"),
    (separable(depthwise_weight=np.ones((3, 11, 16, 1), np.float32)), ValueError, "depthwise_weight|x|padding", "11", "9"),
    # activation
    (depthwise(activation="swish2"), ValueError, "activation", "swish2", "relu6"),
    (depthwise(activation=6), TypeError, "activation", "6|int", "relu6|low"),
    (depthwise(activation=(6, 0)), ValueError, "activation", "6", "low"),
    (depthwise(activation=(0, np.nan)), ValueError, "activation", "nan", "low|number"),
    (depthwise(activation=(0, 1, 6)), ValueError, "activation", "0, 1, 6", "low"),
    (depthwise(activation=("0", "6")), (TypeError, ValueError), "activation", "0", "low|number"),
    (depthwise(activation=(0, 10**400)), ValueError, "activation", "1000", "low|float32"),
    (depthwise(activation=(0, 1e300)), ValueError, "activation", "1e.?300", "low|float32"),
    (dense(activation="softmax"), ValueError, "activation", "softmax", "relu6"),
    (separable(depthwise_activation="elu"), ValueError, "depthwise_activation", "elu", "relu6"),
    # residual
    (depthwise(residual=zeros(1, 8, 9, 16)), ValueError, "residual", "8, 9", "6, 7"),
    (pointwise(residual=X), ValueError, "residual", "16", "24"),
    (pointwise(residual=zeros(1, 8, 9, 24, dtype=np.float64)), TypeError, "residual", "float64", "float32"),
    (pointwise(residual=True), TypeError, "residual", "True|bool", "array"),
    (pointwise(residual=zeros(1, 8, 9, 48)[..., ::2]), ValueError, "residual", "apart", "next to each other"),
    # out
    (depthwise(out=zeros(1, 8, 9, 16)), ValueError, "out", "8, 9", "6, 7"),
    (depthwise(out=zeros(6, 7, 16)), ValueError, "out", "6, 7", "1, 6, 7, 16"),
    (depthwise(out=zeros(1, 6, 7, 16, dtype=np.float64)), TypeError, "out", "float64", "float32"),
    (depthwise(out=[]), TypeError, "out", "list", "array"),
    (depthwise(out=read_only(zeros(1, 6, 7, 16))), ValueError, "out", "read-only|readonly", "writ"),
    (depthwise(out=zeros(1, 6, 7, 32)[..., ::2]), ValueError, "out", "apart", "next to each other"),
    (conv(out=np.broadcast_to(zeros(6, 7, 24), (1, 6, 7, 24))), ValueError, "out", "", "writ"),
    (dense(out=zeros(2, 16)), ValueError, "out", "16", "24"),
    (pool(out=zeros(1, 1, 1, 16)), ValueError, "out", "1, 1, 1, 16", "1, 16"),
    (pool(out=zeros(1, 16), keepdims=True), ValueError, "out", "1, 16", "1, 1, "),
    (pool(out=X[:, 0, 0]), ValueError, "out", "overlap|x", "own|apart"),
    (("pointwise_conv2d", overlapping(0)), ValueError, "out", "overlap|x", "own|apart"),
    (("pointwise_conv2d", overlapping(1)), ValueError, "out", "overlap|x", "own|apart"),
    (("pointwise_conv2d", overlapping(X.size - 1)), ValueError, "out", "overlap|x", "own|apart"),
    (("pointwise_conv2d", overlapping(1 - X.size)), ValueError, "out", "overlap|x", "own|apart"),
    (pointwise(**residual_under_out()), ValueError, "out", "overlap|residual", "own|apart"),
    (pointwise(**weight_under_out()), ValueError, "out", "overlap|weight", "own|apart"),
    (pointwise(out=as_strided(0, 0, 96, 4)), ValueError, "out", "overlap", "own|apart"),
    (pointwise(out=as_strided(0, 9 * 96, 4, 4)), ValueError, "out", "overlap", "own|apart"),
    (separable_under_out(depthwise_weight=(3, 3, 16, 1)), ValueError, "out", "overlap.*depthwise_weight", "own|apart"),
    (separable_under_out(depthwise_bias=(16,)), ValueError, "out", "overlap.*depthwise_bias", "own|apart"),
    (separable_under_out(pointwise_weight=(16, 24)), ValueError, "out", "overlap.*pointwise_weight", "own|apart"),
    # threads and the rest
    (depthwise(threads=0), ValueError, "threads", "0", "1|positive"),
    (pointwise(threads=-1), ValueError, "threads", "-1", "1|positive"),
    (conv(threads=1.5), TypeError, "threads", "1.5|float", "int"),
    (dense(threads="2"), TypeError, "threads", "str|2", "int"),
    (separable(threads=0), ValueError, "threads", "0", "1|positive"),
    (pool(keepdims="no"), TypeError, "keepdims", "str|no", "bool|True"),
    (pool(keepdims=1), TypeError, "keepdims", "1", "True"),
    (depthwise(threads=True), TypeError, "threads", "True", "int"),
    # more than memory holds
    (depthwise(x=huge(1, 1 << 20, 1 << 20)), ValueError, "x", "1048576, 1048576, 16", "smaller.*no memory for .1, 1048574.*bytes"),
    (pointwise(x=huge(1, 1 << 20, 1 << 20)), ValueError, "x", "1048576, 1048576, 16", "smaller.*no memory"),
    (separable(x=huge(1, 64, 1 << 34)), ValueError, "x", "64, 17179869184, 16", "smaller.*no memory"),
    (expanding(x=huge(1, 1 << 16, 1 << 16), stride=256), ValueError, "x", "65536, 65536, 16", "smaller.*no memory for scratch"),
    (dense(x=huge(1 << 40)), ValueError, "x", "1099511627776, 16", "smaller.*no memory"),
    (pool(x=huge(1 << 40, 1, 1)), ValueError, "x", "1099511627776, 1, 1, 16", "smaller.*no memory"),
    (pointwise(x=huge(1, 1 << 22, 1 << 22)), ValueError, "x", "result of shape", "at most"),
    (dense(x=huge(1 << 44)), ValueError, "x", "result of shape", "at most"),
    (depthwise(padding=2**31 - 1), ValueError, "padding", "result of shape", "at most"),
    # arrays of other libraries, and views of memory in another order
    (pointwise(x=X.transpose(0, 3, 1, 2)), ValueError, "x", "64 bytes apart", "transpose"),
    (depthwise(x=foreign.WithDLPack(X.astype(np.float64))), TypeError, "x", "float64", "float32"),
    (depthwise(x=foreign.OnAnotherDevice()), TypeError, "x", "CUDA", "CPU"),
    (conv(weight=foreign.Unreadable()), TypeError, "weight", "Unreadable.*requires.*gradients", "float32"),
    (separable(pointwise_weight=foreign.OnAnotherDevice()), TypeError, "pointwise_weight", "CUDA", "CPU"),
    (separable(depthwise_bias=foreign.WithBrokenInterface()), TypeError, "depthwise_bias", "WithBrokenInterface", "array"),
    (pointwise(residual=foreign.OnAnotherDevice()), TypeError, "residual", "CUDA", "CPU"),
    (dense(out=foreign.WithInterface(zeros(2, 24))), TypeError, "out", "WithInterface", "NumPy"),
    # each part of separable_conv2d
    (separable(stride=(0, 1)), ValueError, "stride", "0", "1"),
    (separable(padding="SAME"), ValueError, "padding", "SAME", "same"),
    (separable(depthwise_weight=with_value(DEPTHWISE, np.nan)), ValueError, "depthwise_weight", "NaN", "finite"),
    (separable(depthwise_bias=with_value(zeros(16), np.inf)), ValueError, "depthwise_bias", "infinit", "finite"),
    (separable(pointwise_weight=zeros(1, 3, 16, 24)), ValueError, "pointwise_weight", "1, 3", "1, 1"),
    (separable(residual=True, pointwise_weight=np.ones((16, 16), np.float32)), TypeError, "residual", "bool", "array"),
    (separable(residual=False), TypeError, "residual", "bool", "array"),
    (separable(residual=zeros(1, 8, 9, 24)), ValueError, "residual", "8, 9", "6, 7"),
    (separable(out=zeros(1, 8, 9, 24)), ValueError, "out", "8, 9", "6, 7"),
    (separable(out=read_only(zeros(1, 6, 7, 24))), ValueError, "out", "read-only", "writ"),
    (separable(threads=1.5), TypeError, "threads", "1.5", "int"),
    # what another call takes
    (depthwise(padding="causal"), ValueError, "padding", "causal", "same"),
    (depthwise(dilation=(1, 2, 3)), ValueError, "dilation", "1, 2, 3", "int"),
    (conv(out=[]), TypeError, "out", "list", "array"),
]
