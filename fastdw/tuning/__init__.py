"""The autotuner: measures plans on this machine and keeps the best in its profile.

space.py     which plans are tried for a problem
search.py    in which order, and when one is better than the default
trial.py     what became of a plan
timing.py    fair samples
workload.py  arrays for a problem
worker.py    the process that compiles and measures; process.py: its other end
session.py   one run over many problems, within a budget
report.py    what it found
shapes.py    problems as words
"""

from fastdw.tuning.report import TuningReport
from fastdw.tuning.tuner import autotune

__all__ = ["TuningReport", "autotune"]
