"""One temporary kernel cache and profile for the whole run, set before anything imports Numba; the seed; the kernel count."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

KEPT_CACHE = os.environ.get("FASTDW_TEST_CACHE_DIR")  # kept from run to run, to save compiling while developing
TEMPORARY = Path(tempfile.mkdtemp(prefix="fastdw-tests-"))

sys.path.append(str(Path(__file__).parents[1]))  # for bench; the fastdw under test stays the one that comes first
os.environ["FASTDW_CACHE_DIR"] = KEPT_CACHE or str(TEMPORARY / "cache")
os.environ["FASTDW_PROFILE"] = str(TEMPORARY / "profile.json")


def pytest_addoption(parser):
    group = parser.getgroup("fastdw")
    group.addoption("--seed", type=int, default=0, help="where random problems start (default 0)")
    group.addoption("--case", metavar="CALL-SEED", help="run one random problem alone, as a failure names it")
    group.addoption("--part", metavar="K/N", help="of every N tests in a row, run the K-th alone: N machines share the work")
    group.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes minutes; runs with --slow")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="needs --slow"))
    if config.getoption("--part"):
        k, n = map(int, config.getoption("--part").split("/"))
        kept = items[k - 1 :: n]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def pytest_report_header(config):
    return f"fastdw: --seed {config.getoption('--seed')}, kernel cache {os.environ['FASTDW_CACHE_DIR']}"


def pytest_terminal_summary(terminalreporter):
    jit = sys.modules.get("fastdw.jit")
    if jit is not None:
        terminalreporter.write_line(f"fastdw: {len(jit.compilations())} kernels compiled in this process")


@pytest.fixture
def own_profile(tmp_path, monkeypatch):
    """The file that FASTDW_PROFILE names during a test; there is none yet, and nothing lies beneath it."""
    import fastdw

    path = tmp_path / "profiles" / "profile.json"
    monkeypatch.setenv("FASTDW_PROFILE", str(path))
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "system"))
    fastdw.use_profile(None)
    yield path
    monkeypatch.undo()
    fastdw.use_profile(None)


def pytest_unconfigure():
    shutil.rmtree(TEMPORARY, ignore_errors=True)
