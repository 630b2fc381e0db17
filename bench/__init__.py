"""Benchmarks of fastdw, alone and beside other systems. Each module's docstring says how to run it.

layers.py        what is timed
data.py          inputs, weights and the float64 answer of a layer
timing.py        samples, interleaving, pairing
peak.py          what the FMA units can do, measured
environment.py   the machine and the versions a result belongs to
ours.py          fastdw as a contestant
peers/           other systems, one file each, all with the same function
compare.py       fastdw beside its peers; report.py: the tables that it prints
networks/        whole networks, their memory, and what a layer costs beside its arithmetic
signals.py       convolutions of signals; signal_peers.py: the peers' forms of them
cliffs.py        where unusual problems fall off, each beside a plain one
activations.py   what activations cost
scaling.py       what a second thread brings
waiting.py       what waiting threads cost, by the setting that says how
cold_start.py    fresh processes: import, first result, compilations
tuning.py        whether the autotuner keeps its promises
test_*.py        suites for pytest-benchmark: kernels, calls, networks, peers, cold start
page.py          docs/benchmarks.md, from their JSON; plots.py: its plots
codegen.py       machine code for CPUs that are not here: cross.py makes it, assembly.py reads it, mca.py simulates its cycles
"""
