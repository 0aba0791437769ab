"""The data: the 8x8 handwritten digits that scikit-learn ships (UCI, E. Alpaydin and C. Kaynak, CC BY 4.0)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IMAGES = 1797
PIXELS = 64
CLASSES = 10
TRAINING = 817
"""Images to train with; the other 980 are the 98 batches of 10."""
DATA = Path(__file__).parent / "data" / "digits.csv.gz"
"""Where the image has the file: a row of 64 pixels (0 to 16) and the digit, for each image."""


class DataError(Exception):
    """The data is not there or not what it should be."""


@dataclass(frozen=True)
class Digits:
    """Images and their digits.

    Attributes:
        images: float32, one row an image: 64 pixels from 0 to 1, and a constant 1 for the bias.
        labels: the digit of each row, int64.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


def read(path: Path) -> Digits:
    """All 1797 images, in the file's order.

    Raises:
        DataError: the file is missing or another one.
    """
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error
    if table.shape != (IMAGES, PIXELS + 1):
        raise DataError(f"{path}: {table.shape} is not the shape of the digits, {(IMAGES, PIXELS + 1)}")
    images = np.hstack([table[:, :PIXELS] / np.float32(16), np.ones((IMAGES, 1), np.float32)])
    return Digits(images, table[:, PIXELS].astype(np.int64))


def split(digits: Digits, random: np.random.Generator) -> tuple[Digits, Digits]:
    """The images for training, and those for evaluation, shuffled."""
    order = random.permutation(len(digits.labels))
    parts = order[:TRAINING], order[TRAINING:]
    training, evaluation = (Digits(digits.images[part], digits.labels[part]) for part in parts)
    return training, evaluation
