"""Benchmarks of fastdw, alone and beside other systems. Each module's docstring says how to run it.

layers.py        what is timed
data.py          inputs, weights and the float64 answer of a layer
timing.py        samples, interleaving, pairing
peak.py          what the FMA units can do, measured
environment.py   the machine and the versions a result belongs to
ours.py          fastdw as a contestant
peers/           other systems, one file each, all with the same function
compare.py       fastdw beside its peers
report.py        the tables that `compare` prints
test_*.py        suites for pytest-benchmark: kernels, calls, networks, peers, cold start
page.py          docs/benchmarks.md, from their JSON
waiting.py       what waiting threads cost, by the setting that says how
tuning.py        whether the autotuner keeps its promises
cold_start.py    fresh processes: import, first result, compilations
"""
