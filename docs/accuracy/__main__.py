"""What separable convolutions cost in accuracy, measured: trains the networks, runs them on fastdw, writes a table and a plot.

    python docs/accuracy train [--tasks digits,tones] [--seeds 5] [--results FILE]    # minutes; goes on where it was
    python docs/accuracy report [--results FILE]    # times the networks; writes the table and the plot of docs/accuracy.md

It needs `pip install '.[tutorial]'`: PyTorch, scikit-learn and matplotlib.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from report import write_report
from tasks import TASKS, Task

HERE = Path(__file__).parent
RESULTS = HERE / "results.jsonl"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python docs/accuracy", description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["train", "report"])
    parser.add_argument("--tasks", type=lambda text: text.split(","), default=list(TASKS), metavar="NAME,...")
    parser.add_argument("--seeds", type=int, default=5, help="how many (5)")
    parser.add_argument("--epochs", type=int, help="instead of the task's own")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE", help="a line for each trained network")
    parser.add_argument("--page", type=Path, default=HERE.parent / "accuracy.md", metavar="FILE", help="where the table goes")
    options = parser.parse_args(arguments)
    if options.what == "report":
        write_report(load(options.results), options.page)
    else:
        for name in options.tasks:
            train_all(TASKS[name](), options)


def load(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def train_all(task: Task, options: argparse.Namespace) -> None:
    from networks import designs

    done = {(row["task"], row["design"], row["seed"]) for row in load(options.results)}
    for seed in range(options.seeds):
        for design in designs(task):
            if (task.name, design.name, seed) not in done:
                row = train_one(task, design, seed, options.epochs or task.epochs)
                with options.results.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(row, flush=True)


def train_one(task: Task, design, seed: int, epochs: int) -> dict:
    """Accuracy on the test half, by PyTorch and by fastdw; of a regular network also decoupled."""
    import torch
    from networks import build, error_of, on_fastdw, train

    torch.manual_seed(seed)
    torch.set_num_threads(1)  # or the sums, and with them the results, depend on the machine
    torch.use_deterministic_algorithms(True)
    training, testing = task.halves(seed)
    network = build(design, task)
    train(network, task, training, epochs)
    x, labels = task.x[testing], task.labels[testing]

    def accuracy(terms: int | None = None) -> float:
        return float(np.mean(on_fastdw(network, x.shape, terms, threads=None)(x).argmax(axis=1) == labels))

    with torch.inference_mode():
        scores = network(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    off = np.abs(on_fastdw(network, x.shape, threads=None)(x) - scores).max() / np.abs(scores).max()
    assert off < 1e-4, f"fastdw and PyTorch differ by {off:.1e} of the largest score"
    row = {
        "task": task.name,
        "design": design.name,
        "seed": seed,
        "accuracy": accuracy(),
        "torch": float(np.mean(scores.argmax(1) == labels)),
    }
    if design.name == "regular":
        every = range(1, int(np.prod(task.kernel)) + 1)
        row["decoupled"] = [accuracy(terms) for terms in every]
        row["errors"] = [error_of(network, terms) for terms in every]
    return row


if __name__ == "__main__":
    main()
