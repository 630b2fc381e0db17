"""What importing fastdw costs, and which file may import, name or print what."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastdw

PACKAGE = Path(fastdw.__file__).parent
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
TREES = {file: ast.parse((PACKAGE / file).read_text()) for file in FILES}

# From the bottom up: a file imports from its own layer and those below. A trailing slash takes a whole folder.
LAYERS = [
    ["forks.py", "notices.py", "limits.py", "file_lock.py"],
    ["problem.py", "machine.py", "knobs.py", "tile/"],
    ["jit.py", "kernel_cache.py", "arrays.py", "thread_pool.py", "launch.py", "packing.py", "arguments.py", "columns.py"],
    ["kernels/", "probes.py"],
    ["profile.py"],
    ["profile_files.py"],
    ["planner.py"],
    ["request.py"],
    ["call.py", "blockplanner.py", "weights.py", "cost.py"],
    ["gather.py", "program.py"],
    ["fused.py"],
    ["gather_blocks.py"],
    ["functional.py"],
    ["conv1d.py", "conv3d.py"],
    ["explaining.py"],
    ["prepared.py", "decoupling.py", "roof.py"],
    ["streaming.py"],
    ["networks/"],
    ["tuning/"],
    ["__init__.py"],
    ["cli/", "__main__.py"],
]
MAY_IMPORT_NUMBA = ["jit.py", "kernel_cache.py", "arrays.py", "thread_pool.py", "launch.py", "program.py", "tile/"]
MAY_NAME_INSTRUCTION_SETS = ["machine.py", "tile/"]
MAY_SET_JIT_FLAGS = ["jit.py"]
MAY_PRINT = ["cli/"]
MAY_NAME_THE_ENVIRONMENT = ["knobs.py", "cli/warmup.py", "tuning/worker.py"]  # the last two compile whatever it says

INSTRUCTION_SETS = re.compile(r"(?<![a-z])(avx(2|512\w*)?|sse\d?|neon|asimd|sve2?|fma3|vnni)(?![a-z])", re.IGNORECASE)
JIT_FLAGS = {"nogil", "error_model", "fastmath", "boundscheck", "nopython", "forceobj", "inline", "looplift"}


def lies_in(file: str, places: list[str]) -> bool:
    return any(file == place or (place.endswith("/") and file.startswith(place)) for place in places)


def layer_of(file: str) -> int:
    layers = [i for i, places in enumerate(LAYERS) if lies_in(file, places)]
    assert len(layers) == 1, f"{file} has no layer yet: give it one in LAYERS"
    return layers[0]


def imported_names(file: str) -> Iterator[str]:
    """Every module that a file imports, anywhere in it, and every name from it."""
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_files(file: str) -> set[str]:
    """The files of fastdw among them."""
    stems = (name.replace(".", "/").removeprefix("fastdw/") for name in imported_names(file) if name.startswith("fastdw."))
    return {found for stem in stems for found in (f"{stem}.py", f"{stem}/__init__.py") if found in TREES}


def in_fresh_python(code: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent), "OPENBLAS_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_import_loads_no_compiler():
    loaded = in_fresh_python("import sys, fastdw; print(*sorted({'numba', 'llvmlite', 'psutil', 'PIL', 'tflite'} & sys.modules.keys()))")
    assert loaded == ""


def test_every_public_name_is_there():
    in_fresh_python("import fastdw\nfor name in fastdw.__all__: getattr(fastdw, name)\nassert set(fastdw.__all__) <= set(dir(fastdw))")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="depthwise_conv4d"):
        fastdw.depthwise_conv4d  # noqa: B018


def test_import_starts_no_thread():
    count = "len(os.listdir('/proc/self/task'))"
    before, after = in_fresh_python(f"import os, numpy; before = {count}; import fastdw; print(before, {count})").split()
    assert before == after


def test_import_writes_no_file(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    in_fresh_python(f"import os; os.environ.update(HOME={str(home)!r}, FASTDW_CACHE_DIR={str(home / 'cache')!r}); import fastdw")
    assert list(home.iterdir()) == []


def test_only_the_compiler_side_loads_numba():
    files = [file for file in FILES if not lies_in(file, [*MAY_IMPORT_NUMBA, "__main__.py"])]
    modules = [f"fastdw.{file.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__") for file in files]
    loaded = in_fresh_python(
        "import importlib, sys\n"
        f"for module in {modules}:\n"
        "    importlib.import_module(module)\n"
        "    if {'numba', 'llvmlite'} & sys.modules.keys(): sys.exit(f'{module} loads a compiler')\n"
        "print(len(sys.modules))"
    )
    assert int(loaded) > len(modules)


@pytest.mark.parametrize("file", FILES)
def test_nothing_imports_upward(file):
    above = {other for other in imported_files(file) if layer_of(other) > layer_of(file)}
    assert not above, f"{file} imports {above}"


@pytest.mark.parametrize("file", FILES)
def test_no_import_waits_for_a_first_call(file):
    """`from fastdw import cost` asks the package for the name, whose lock another thread may hold that waits for this very import."""
    asked = [node for node in TREES[file].body if isinstance(node, ast.ImportFrom) and node.module == "fastdw"]
    assert not {alias.name for node in asked for alias in node.names} & set(fastdw.__all__)


def test_a_module_is_imported_while_another_thread_makes_its_first_call():
    code = "with fastdw.forks.WHOLE: thread.start(); thread.join(60); print(thread.is_alive())"
    thread = "threading.Thread(target=__import__, args=('fastdw.decoupling',), daemon=True)"
    assert in_fresh_python(f"import threading, fastdw; thread = {thread}\n{code}") == "False"


def test_layers_see_the_imports():
    assert "tile/shapes.py" in imported_files("jit.py")
    assert "problem.py" in imported_files("functional.py")


@pytest.mark.parametrize("file", [file for file in FILES if not lies_in(file, MAY_IMPORT_NUMBA)])
def test_only_the_compiler_side_imports_numba(file):
    compilers = {name for name in imported_names(file) if name.partition(".")[0] in ("numba", "llvmlite")}
    assert not compilers


@pytest.mark.parametrize("file", [file for file in FILES if not lies_in(file, MAY_SET_JIT_FLAGS)])
def test_jit_options_have_one_door(file):
    flags = {node.arg for node in ast.walk(TREES[file]) if isinstance(node, ast.keyword)} & JIT_FLAGS
    decorators = {name for name in imported_names(file) if name in ("numba.njit", "numba.jit", "numba.vectorize", "numba.guvectorize")}
    assert not flags | decorators


def test_jit_flags_are_found_in_the_door():
    words = {node.value for node in ast.walk(TREES["jit.py"]) if isinstance(node, ast.Constant)}
    assert words & JIT_FLAGS


def words_of(tree: ast.AST) -> Iterator[str]:
    """Identifiers and strings, docstrings left out."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in docstrings:
            yield node.value
        for attribute in ("id", "attr", "name", "arg"):
            if isinstance(getattr(node, attribute, None), str):
                yield getattr(node, attribute)


@pytest.mark.parametrize("file", [file for file in FILES if not lies_in(file, MAY_NAME_INSTRUCTION_SETS)])
def test_instruction_sets_are_named_in_their_place(file):
    named = {word for word in words_of(TREES[file]) if INSTRUCTION_SETS.search(word)}
    assert not named


def test_instruction_sets_are_found_where_they_are():
    assert any(INSTRUCTION_SETS.search(word) for word in words_of(TREES["machine.py"]))


@pytest.mark.parametrize("file", [file for file in FILES if not lies_in(file, MAY_PRINT)])
def test_only_the_command_line_prints(file):
    calls = [node.func for node in ast.walk(TREES[file]) if isinstance(node, ast.Call)]
    printing = [ast.unparse(call) for call in calls if ast.unparse(call) in ("print", "sys.stdout.write", "sys.stderr.write", "pprint")]
    assert not printing


@pytest.mark.parametrize("file", [file for file in FILES if not lies_in(file, MAY_NAME_THE_ENVIRONMENT)])
def test_environment_variables_are_read_in_their_place(file):
    assert not {"environ", "getenv"} & set(words_of(TREES[file]))
