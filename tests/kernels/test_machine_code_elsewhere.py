"""The machine code of the default plans of common layers on CPUs that are not here: see check_code, and what llvm-mca predicts."""

from __future__ import annotations

import pytest
from code_check import SPILLED, check_code

from bench import mca
from bench.codegen import default_tiles, judge
from bench.cross import CORES, compile_for

CPUS = ("cortex-a53", "cortex-a55", "cortex-a72", "neoverse-n1")
CODE = [(cpu, spec, tile) for cpu in CPUS for spec, tile in default_tiles(CORES[cpu])]

# once a tile, with loads moved ahead for cores that issue in order
SPILLED_THERE = {(cpu, kernel): 1.0 for cpu in ("cortex-a53", "cortex-a55") for kernel in ("depthwise_few", "conv")}

# at least so much of what the multiply-add units allow, or the load units where these are busier
PREDICTED = {
    "pointwise": {"cortex-a53": 0.80, "cortex-a55": 0.85, "cortex-a72": 0.92, "neoverse-n1": 0.92},
    "depthwise": {"cortex-a53": 0.75, "cortex-a55": 0.80, "cortex-a72": 0.80, "neoverse-n1": 0.80},
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
