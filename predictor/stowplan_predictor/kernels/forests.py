"""Forests: many regression trees as three arrays, asked for all rows and trees at once.

ONNX Runtime holds a tree ensemble at some 400 bytes a node, these arrays at nine: half a million nodes are 4 MB and not 180.
A node's left child is the node behind it. A leaf has no right child, and its value is what the tree says.
"""

import io
import zipfile
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEAF: Final = -1


class Forests:
    """Several forests of as many trees each. Thread-safe: it is only read."""

    def __init__(self, content: bytes, columns: int) -> None:
        """Reads an archive of `feature` (nodes,) uint8, `value` (nodes,) float32, `right` (nodes,) int32 and `roots` (forests, trees) int32.

        Args:
            content: of the file.
            columns: features of a row.

        Raises:
            ValueError: no such archive, or nodes that lead astray.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                self._feature, self._value, self._right, self._roots = (archive[name] for name in ("feature", "value", "right", "roots"))
        except (OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"no archive of forests: {error}") from error
        count = len(self._right)
        inner = np.flatnonzero(self._right != LEAF)
        # Every way leads on, so that it ends: to the node behind, or farther.
        sound = (self._right[inner] > inner + 1).all() and (self._right < count).all() and not (inner == count - 1).any()
        if not (sound and len(self._feature) == len(self._value) == count and (self._feature[inner] < columns).all()):
            raise ValueError("forests whose nodes lead astray")
        if self._roots.ndim != 2 or not ((self._roots >= 0) & (self._roots < count)).all():
            raise ValueError("forests whose roots are no nodes")

    @property
    def count(self) -> int:
        """How many forests there are."""
        return len(self._roots)

    def values(self, matrix: NDArray[np.float32], which: NDArray[np.int64]) -> NDArray[np.float64]:
        """(rows,): the mean over the trees of each row's forest.

        Args:
            matrix: (rows, columns).
            which: (rows,) forest of each row.
        """
        at = self._roots[which].astype(np.int64).reshape(-1)
        row = np.repeat(np.arange(len(matrix)), self._roots.shape[1])
        open_ = np.arange(len(at))
        while len(open_):
            node = at[open_]
            right = self._right[node]
            inner = right != LEAF
            open_, node, right = open_[inner], node[inner], right[inner]
            at[open_] = np.where(matrix[row[open_], self._feature[node]] <= self._value[node], node + 1, right)
        return np.asarray(self._value[at].reshape(len(matrix), -1).mean(axis=1, dtype=np.float64))
