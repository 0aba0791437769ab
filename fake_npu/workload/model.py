"""The model: softmax regression, trained by gradient descent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fake_npu.workload.digits import CLASSES, PIXELS, Digits

NAME = "digits_softmax"
SHAPE = (PIXELS + 1, CLASSES)
"""Of the weights: one row a pixel and one for the bias, one column a digit."""
STEPS = 200
RATE = 2.0
"""Step length; with pixels from 0 to 1 the descent is stable up to about 4."""


def train(digits: Digits) -> NDArray[np.float32]:
    """Weights that fit these digits."""
    weights = np.zeros(SHAPE, np.float32)
    wanted = np.eye(CLASSES, dtype=np.float32)[digits.labels]
    for _ in range(STEPS):
        scores = digits.images @ weights
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        wrong = scores / scores.sum(axis=1, keepdims=True) - wanted
        weights -= RATE / len(wanted) * (digits.images.T @ wrong)
    return weights


def ranking(weights: NDArray[np.float32], images: NDArray[np.float32]) -> NDArray[np.int64]:
    """The ten digits for each image, the likeliest first."""
    return np.argsort(-(images @ weights), axis=1, kind="stable")


def accuracy(rankings: NDArray[np.int64], labels: NDArray[np.int64], top: int) -> float:
    """The share of images whose digit is among the first `top` of its ranking, 0 to 1, as a float32 has it."""
    hits = (rankings[:, :top] == labels[:, None]).any(axis=1)
    return float(np.float32(hits.mean()))
