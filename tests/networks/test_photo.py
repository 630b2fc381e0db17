"""Photos as inputs, labels, and files that are neither."""

import sys

import numpy as np
import pytest

from fastdw.networks import Quantization, load_labels, load_photo

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

RGB, GREY = (1, 4, 6, 3), (1, 4, 6, 1)


@pytest.fixture
def photo(tmp_path):
    """A photo of exactly the input's size, so that nothing is resampled."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path, pixels


def test_float_input(photo):
    path, pixels = photo
    x = load_photo(path, RGB)
    assert x.dtype == np.float32
    assert x.shape == RGB
    np.testing.assert_allclose(x[0], pixels / 255, atol=1e-6)


def test_pixel_range(photo):
    path, pixels = photo
    np.testing.assert_allclose(load_photo(path, RGB, pixel_range=(-1, 1))[0], pixels / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize(("dtype", "first"), [(np.uint8, 0), (np.int8, -128)])
def test_quantised_input(photo, dtype, first):
    path, pixels = photo
    x = load_photo(path, RGB, Quantization(np.dtype(dtype), 0.25, 3 + first))
    np.testing.assert_array_equal(x[0], (pixels.astype(np.float32) - 3) * 0.25)


def test_grey(photo):
    path, _ = photo
    expected = np.asarray(Image.open(path).convert("L"), np.float32) / 255
    np.testing.assert_allclose(load_photo(path, GREY)[0, :, :, 0], expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_any_mode(tmp_path, mode):
    path = tmp_path / "photo.tiff"
    (Image.new(mode, (9, 7)) if mode == "I;16" else Image.new("RGB", (9, 7), (200, 100, 50)).convert(mode)).save(path)
    assert load_photo(path, RGB).shape == RGB


def test_resized_as_pillow_does(model_file):
    path = model_file("cat.bmp")
    expected = np.asarray(Image.open(path).convert("RGB").resize((48, 32)), np.float32) / 255
    np.testing.assert_allclose(load_photo(path, (1, 32, 48, 3))[0], expected, atol=1e-6)


def test_turned_as_the_camera_says(tmp_path):
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (8, 16), 50).save(path, exif=exif)
    upright = Image.new("L", (8, 16), 50)
    upright.paste(200, (0, 0, 8, 8))
    upright.save(path, exif=exif, quality=100)
    x = load_photo(path, (1, 8, 16, 1))[0, :, :, 0]
    assert x[:, :8].mean() < 0.25
    assert x[:, 8:].mean() > 0.7


@pytest.mark.parametrize("data", [b"", b"no photo", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"GIF89a", b"BM" + b"\xff" * 60])
def test_a_file_that_is_no_photo(tmp_path, data):
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"got a file that is no photo \(.*; expected an image that Pillow reads$") as caught:
        load_photo(path, RGB)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cat.bmp", "parrot.jpg"])
def test_a_truncated_photo(tmp_path, model_file, name):
    data = model_file(name).read_bytes()
    path = tmp_path / name
    for length in np.linspace(0, len(data) - 1000, 12).astype(int):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"got a file that is no photo "):
            load_photo(path, RGB)


def test_a_photo_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_photo(tmp_path / "none.png", RGB)


@pytest.mark.parametrize("shape", [(1, 10), (1, 4, 4, 2), (2, 4, 4, 3)])
def test_a_network_that_takes_no_photo(photo, shape):
    with pytest.raises(ValueError, match=r"^photo: got a network with input .*; expected one of "):
        load_photo(photo[0], shape)


def test_a_network_of_16_bit_integers(photo):
    with pytest.raises(ValueError, match=r"^photo: got a network with input int16; expected float32, int8 or uint8"):
        load_photo(photo[0], RGB, Quantization(np.dtype(np.int16), 1.0, 0))


def test_without_pillow(photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"^pillow: got no such package; expected it installed, by pip install fastdw\[models\]$"):
        load_photo(photo[0], RGB)


def test_labels(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("cat\nÉléphant\n", encoding="utf-8")
    assert load_labels(path, 2) == ["cat", "Éléphant"]
    with pytest.raises(ValueError, match=r"labels.txt: got 2 labels; expected 3, one for each class of the network$"):
        load_labels(path, 3)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"labels.txt: got bytes that are no UTF-8 text; expected one label a line$"):
        load_labels(path, 3)
