"""`fastdw run`, from its arguments to what it prints."""

import re
import subprocess
import sys

import pytest

from fastdw import networks
from fastdw.cli import main

ROW = re.compile(r"^(\S+) +(\S+) +([\dx]+) +(?:([\d.]+) +)?([\d.]+) +([\d.]+)(?: +([\d.]+))?$", re.MULTILINE)


@pytest.fixture
def small_architecture(monkeypatch):
    """The default architecture, but small."""
    monkeypatch.setitem(networks.ARCHITECTURES, "mobilenet_v1", lambda: networks.mobilenet_v1(size=32, classes=12))


def failure(capsys, *arguments: str) -> str:
    """The one line that a command which fails prints."""
    try:
        status = main(arguments)
    except SystemExit as exit:
        status = exit.code
    printed = capsys.readouterr()
    assert status == 2
    assert printed.out == ""
    assert printed.err.startswith("fastdw: error: ")
    assert printed.err.count("\n") == 1
    return printed.err.removeprefix("fastdw: error: ").rstrip()


def test_without_a_model(capsys, small_architecture):
    assert main(["run", "--repeat", "2", "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    rows = ROW.findall(printed)
    assert len(rows) == 30
    assert rows[0][:4] == ("stem", "conv2d", "1x16x16x32", "0.22")
    assert "\nall layers " in printed
    assert re.search(r"^mobilenet_v1: 1x32x32x3 to 1x12, first result after [\d.]+ s$", printed, re.MULTILINE)
    assert re.search(r"^a run: median [\d.]+ ms, minimum [\d.]+ ms, of 2$", printed, re.MULTILINE)
    assert len(re.findall(r"^0\.\d{4}  class \d+$", printed, re.MULTILINE)) == 5


def test_the_table_is_aligned(capsys, small_architecture):
    main(["run", "--repeat", "1"])
    heading, *rows = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert heading.split("  ")[0] == "layer"
    assert re.search(r" M mult-adds +median ms +min ms +GFLOP/s$", heading)
    assert {len(row) for row in rows if "conv2d" in row or "all layers" in row} == {len(heading)}
    assert {row.index(" 1x") for row in rows if "conv2d" in row} == {heading.index(" output")}


def test_a_photo_with_labels(capsys, model_file):
    pytest.importorskip("tflite", reason="tflite is not installed")
    arguments = [model_file("tf2_mobilenet_v2_1.0_224_ptq.tflite"), "--image", model_file("cat.bmp")]
    arguments += ["--labels", model_file("imagenet_labels.txt"), "--top", "3", "--repeat", "1"]
    assert main(["run", *map(str, arguments)]) == 0
    scores = re.findall(r"^(0\.\d{4})  (.+)$", capsys.readouterr().out, re.MULTILINE)
    assert [label for _, label in scores] == ["Egyptian cat", "tabby, tabby cat", "tiger cat"]
    assert float(scores[0][0]) == pytest.approx(0.657, abs=1e-3)


def test_layers_beside_the_roofline(capsys, small_architecture):
    assert main(["run", "--profile-layers", "--repeat", "2", "--threads", "1"]) == 0
    heading, *rows = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert heading.split() == ["layer", "output", "kernel", "M", "mult-adds", "median", "ms", "min", "ms", "GFLOP/s", "%", "roof"]
    assert re.match(r"stem +1x16x16x32 +f32_conv\S* +0\.22 ", rows[0])
    assert sum(" f32_softmax_" in row for row in rows) == 1
    assert re.fullmatch(r"all layers +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +\d+", rows[-2])
    assert re.fullmatch(r"roof: \d+ GFLOP/s, \d+ GB/s in the second-level cache", rows[-1])


@pytest.mark.parametrize("name", ["vww_96_float.tflite", "kws_ref_model_int8.tflite"])
def test_beside_litert(capsys, model_file, name):
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    assert main(["run", str(model_file(name)), "--compare", "litert", "--threads", "1", "--repeat", "3"]) == 0
    printed = capsys.readouterr().out
    kind = "integers" if "int8" in name else "float32"
    assert re.search(rf"^a run in LiteRT \({kind}, 1 thread\): median [\d.]+ ms, minimum [\d.]+ ms, of 3$", printed, re.MULTILINE)
    assert re.search(r"^fastdw / LiteRT: [\d.]+ of medians, [\d.]+ of minima$", printed, re.MULTILINE)
    difference = float(re.search(r"^largest difference (\S+), largest value ", printed, re.MULTILINE)[1])
    assert difference < (0.05 if kind == "integers" else 1e-4)


def test_a_network_that_hears(capsys, model_file):
    pytest.importorskip("tflite", reason="tflite is not installed")
    assert main(["run", str(model_file("kws_ref_model_float32.tflite")), "--top", "99", "--repeat", "1"]) == 0
    assert len(re.findall(r"^[01]\.\d{4}  class \d+$", capsys.readouterr().out, re.MULTILINE)) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: command"),
        (("frobnicate",), "argument command: invalid choice: 'frobnicate' (choose from "),
        (("run", "none"), "model: got 'none'; expected a .tflite or .onnx file, or one of mobilenet_v1, mobilenet_v2"),
        (("run", "--threads", "0"), "argument --threads: got 0; expected a whole number of at least 1"),
        (("run", "--repeat", "many"), "argument --repeat: got many; expected a whole number of at least 1"),
        (("run", "--top", "-1"), "argument --top: got -1; expected a whole number of at least 1"),
        (("run", "--image", "none.jpg"), "none.jpg: No such file or directory"),
        (("run", "--labels", "none.txt"), "none.txt: No such file or directory"),
        (("run", "."), ".: Is a directory"),
        (("run", "--compare", "litert"), "--compare: got 'mobilenet_v1'; expected a .tflite file, which LiteRT can read too"),
        (("run", "--compare", "torch"), "argument --compare: invalid choice: 'torch' (choose from "),
    ],
)
def test_errors(capsys, small_architecture, arguments, message):
    assert failure(capsys, *arguments).startswith(message)


def test_errors_in_files(capsys, small_architecture, tmp_path):
    path = tmp_path / "file"
    path.write_text("neither\nof\nthem")
    assert failure(capsys, "run", "--image", str(path)).startswith(f"{path}: got a file that is no photo ")
    assert failure(capsys, "run", "--labels", str(path)) == f"{path}: got 3 labels; expected 12, one for each class of the network"
    assert failure(capsys, "run", str(path)).startswith(f"{path}: got b'neither\\n' at its start; expected a TensorFlow Lite model")


def test_interrupted(capsys, monkeypatch):
    def interrupt(model):
        raise KeyboardInterrupt

    monkeypatch.setattr(networks, "load_graph", interrupt)
    assert main(["run"]) == 130
    assert capsys.readouterr() == ("", "")


def test_help(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["run", "--help"])
    assert exit.value.code == 0
    assert "--image PHOTO" in capsys.readouterr().out


def test_as_a_module():
    done = subprocess.run([sys.executable, "-m", "fastdw", "run", "none"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == f"fastdw: error: model: got 'none'; expected a .tflite or .onnx file, or one of {', '.join(networks.ARCHITECTURES)}\n"
    )
