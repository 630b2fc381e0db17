"""Trained networks against LiteRT, and what they see on photos."""

from functools import cache

import litert
import numpy as np
import pytest

from fastdw.networks import Network, load_labels, load_photo, load_tflite

VWW, VWW_INT8 = "vww_96_float.tflite", "vww_96_int8.tflite"
KWS, KWS_INT8 = "kws_ref_model_float32.tflite", "kws_ref_model_int8.tflite"
MOBILENET_V1, MOBILENET_V2 = "mobilenet_v1_0.25_128_quant.tflite", "tf2_mobilenet_v2_1.0_224_ptq.tflite"
PHOTOS = ["cat.bmp", "grace_hopper.bmp", "parrot.jpg", "person.bmp", "no_person.bmp"]
TOLERANCE = 1e-4


@cache
def load(path) -> Network:
    return load_tflite(path)


@cache
def dequantised(path) -> bytes:
    return litert.dequantised(path)


def random_input(network: Network, seed: int) -> np.ndarray:
    """Pixels, or for keyword spotting the like of its cepstral coefficients."""
    rng = np.random.default_rng(seed)
    if network.input_shape[3] == 1:
        return (20 * rng.standard_normal(network.input_shape)).astype(np.float32)
    return rng.random(network.input_shape, np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_a_float_model_gives_what_litert_gives(model_file, seed):
    path = model_file(VWW)
    x = random_input(load(path), seed)
    assert np.abs(load(path)(x) - litert.run(path.read_bytes(), x)).max() <= TOLERANCE


@pytest.mark.parametrize("photo", PHOTOS)
def test_a_float_model_gives_what_litert_gives_on_photos(model_file, photo):
    path = model_file(VWW)
    x = load_photo(model_file(photo), load(path).input_shape)
    assert np.abs(load(path)(x) - litert.run(path.read_bytes(), x)).max() <= TOLERANCE


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("model", [KWS, KWS_INT8, VWW_INT8, MOBILENET_V1, MOBILENET_V2])
def test_quantised_weights_give_what_litert_gives_for_the_dequantised_model(model_file, model, seed):
    # The convolutions of the "float32" keyword model hold int8 weights too; LiteRT as it is rounds their inputs to int8 as well.
    path = model_file(model)
    x = random_input(load(path), seed)
    assert np.abs(load(path)(x) - litert.run(dequantised(path), x)).max() <= TOLERANCE


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("model", [VWW_INT8, MOBILENET_V1, MOBILENET_V2])
def test_quantised_weights_give_what_litert_gives_for_the_dequantised_model_on_photos(model_file, model, photo):
    path = model_file(model)
    x = load_photo(model_file(photo), load(path).input_shape, load(path).quantization)
    assert np.abs(load(path)(x) - litert.run(dequantised(path), x)).max() <= TOLERANCE


def scores(model_file, model: str, photo: str) -> np.ndarray:
    network = load(model_file(model))
    return network(load_photo(model_file(photo), network.input_shape, network.quantization))[0]


@pytest.mark.parametrize(
    ("model", "photo", "label"),
    [
        (MOBILENET_V2, "cat.bmp", "Egyptian cat"),
        (MOBILENET_V2, "grace_hopper.bmp", "military uniform"),
        (MOBILENET_V2, "parrot.jpg", "macaw"),
        (MOBILENET_V1, "parrot.jpg", "macaw"),
    ],
)
def test_what_is_on_a_photo(model_file, model, photo, label):
    y = scores(model_file, model, photo)
    labels = load_labels(model_file("imagenet_labels.txt"), y.size)
    assert labels[y.argmax()] == label


@pytest.mark.parametrize("model", [VWW, VWW_INT8])
@pytest.mark.parametrize(
    ("photo", "is_person"), [("grace_hopper.bmp", True), ("cat.bmp", False), ("parrot.jpg", False), ("no_person.bmp", False)]
)
def test_whether_a_person_is_on_a_photo(model_file, model, photo, is_person):
    assert (scores(model_file, model, photo).argmax() == 1) == is_person


def test_scores_of_the_persons_on_photos(model_file):
    assert scores(model_file, VWW, "grace_hopper.bmp")[1] == pytest.approx(0.828, abs=5e-4)
    assert scores(model_file, VWW, "cat.bmp")[0] == pytest.approx(0.966, abs=5e-4)


def test_two_cats_that_only_rounding_to_integers_tells_apart(model_file):
    """The integer model says tiger cat (62/256), Egyptian cat (55/256): logits one step of 0.131 apart. In float they are closer."""
    y = scores(model_file, MOBILENET_V1, "cat.bmp")
    labels = load_labels(model_file("imagenet_labels.txt"), y.size)
    best = np.argsort(-y)[:3]
    assert {labels[index] for index in best[:2]} == {"tiger cat", "Egyptian cat"}
    assert labels[best[2]] == "tabby, tabby cat"
    logits = np.log(y[best[:2]])
    assert abs(logits[0] - logits[1]) < 0.131
