"""The machine code of the default plans of common layers on CPUs that are not here: see check_code, and what llvm-mca predicts."""

from __future__ import annotations

import pytest
from code_check import SPILLED, check_code
from numba import types

from bench import cross, mca
from bench.codegen import default_tiles, judge
from bench.cross import CORES, compile_for
from fastdw import jit
from fastdw.kernels import conv

pytestmark = pytest.mark.slow  # over two hundred compilations that nothing else needs

CPUS = ("cortex-a53", "cortex-a55", "cortex-a72", "neoverse-n1")
CODE = [(cpu, spec, tile) for cpu in CPUS for spec, tile in default_tiles(CORES[cpu])]

# once a tile, with loads moved ahead for cores that issue in order
SPILLED_THERE = {("cortex-a53", "depthwise_few"): 1.0, ("cortex-a55", "depthwise_few"): 1.0}

# at least so much of what the multiply-add units allow, or the load units where these are busier
PREDICTED = {
    "pointwise": {"cortex-a53": 0.80, "cortex-a55": 0.85, "cortex-a72": 0.92, "neoverse-n1": 0.92},
    "depthwise_rows": {"cortex-a53": 0.75, "cortex-a55": 0.80, "cortex-a72": 0.80, "neoverse-n1": 0.80},
}


def name(value) -> str:
    return value if isinstance(value, str) else getattr(value, "name", str(value))


@pytest.mark.parametrize(("cpu", "spec", "tile"), CODE, ids=name)
def test_machine_code(cpu, spec, tile):
    check_code(compile_for(CORES[cpu], spec.task, tile), spec, tile, SPILLED_THERE.get((cpu, spec.name), SPILLED))


@pytest.mark.parametrize(("cpu", "spec", "tile"), [one for one in CODE if one[1].name in PREDICTED and one[2].pixels > 1], ids=name)
def test_predicted_speed(cpu, spec, tile):
    try:
        mca.program()
    except mca.Missing as missing:
        pytest.skip(str(missing))
    report = judge(CORES[cpu], spec, tile)
    share = report.of_fused_limit if spec.name == "pointwise" else report.of_limit
    assert share >= PREDICTED[spec.name][cpu], f"{share:.0%} of the limit:\n" + "\n".join(report.loop.instructions)


def test_the_code_is_the_same_whatever_was_compiled_before():
    core, tile = CORES["cortex-a53"], next(tile for spec, tile in default_tiles(CORES["cortex-a53"]) if spec is conv.SPEC)
    found = []
    for is_first in (True, False):
        vars(conv.copy_strip).pop("dispatcher", None)
        if not is_first:  # what is inlined has been compiled for this machine
            jit._dispatcher(conv.conv.function, cached=False).compile((tile._numba_type_, types.intp, types.intp))
        cross._unoptimised.cache_clear()
        found.append([text.split()[0] for text in compile_for(core, conv.conv, tile).code.instructions])
    assert found[0] == found[1]
