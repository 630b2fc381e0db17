"""The two tasks of the tutorial, as float32 images [n, height, width, 1] with labels, cut into training and test halves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TONES, LENGTH = 2400, 128


@dataclass(frozen=True)
class Task:
    """kernel: the filter of every layer of its networks. epochs: to train for."""

    name: str
    kernel: tuple[int, int]
    epochs: int
    x: np.ndarray
    labels: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.x.shape[1:]

    def halves(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices to train on and to test on, by the seed."""
        order = np.random.default_rng(seed).permutation(len(self.x))
        return order[: len(order) // 2], order[len(order) // 2 :]


def digits() -> Task:
    """1797 handwritten digits of 8x8 pixels, which scikit-learn carries with it (UCI, Alpaydin and Kaynak 1998)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return Task("digits", (3, 3), 15, (found.images[..., np.newaxis] / 16).astype(np.float32), found.target)


def tones() -> Task:
    """2400 generated signals of 128 samples, in eight classes: steady, rising, falling and bent tones, each plain or beating, at a
    random pitch, phase and place in time, in noise of about their power. Signals are images of one row."""
    rng = np.random.default_rng(2026)
    labels = np.arange(TONES) % 8
    time = np.arange(LENGTH) / LENGTH
    x = np.empty((TONES, 1, LENGTH, 1), np.float32)
    for signal, label in zip(x, labels, strict=True):
        pitch, depth, beat = rng.uniform(24, 36), rng.uniform(10, 20), rng.uniform(3, 5)
        bend = {0: 0 * time, 1: time**2 / 2, 2: -(time**2) / 2, 3: np.cumsum(np.abs(2 * time - 1)) / LENGTH}[label % 4]
        tone = np.sin(2 * np.pi * (pitch * time + depth * bend + rng.random()))
        if label >= 4:
            tone *= 1 + np.sin(2 * np.pi * (beat * time + rng.random()))
        window = np.exp(-0.5 * ((time - rng.uniform(0.35, 0.65)) / 0.25) ** 2)
        signal[0, :, 0] = tone * window + 0.5 * rng.standard_normal(LENGTH)
    return Task("tones", (1, 9), 15, x / np.float32(x.std()), labels)


TASKS = {"digits": digits, "tones": tones}
