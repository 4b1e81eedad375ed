"""A score at each horizon and over all horizons, with a reason if it is undefined.

Scores are written to JSON, which has no NaN or infinity: undefined values are None, with a note.
"""

import math
from dataclasses import dataclass, fields, is_dataclass

import numpy as np


@dataclass(frozen=True)
class Figures:
    """One score by horizon.

    Attributes:
        by_horizon (`list` of `float` or `None`): value at each bar of the horizon.
        overall (`float`, *optional*): value over all horizons; the scoring function defines how it is aggregated.
        note (`str`, *optional*): why values are None, or a limitation.
    """

    by_horizon: list[float | None]
    overall: float | None
    note: str | None = None

    @classmethod
    def of(cls, values: np.ndarray, why: str, overall: float | None = None, note: str | None = None) -> "Figures":
        """Creates figures from an array in which NaN and infinity mean undefined.

        Args:
            values (`np.ndarray` of shape `(H,)`): value at each horizon.
            why (`str`): the note if any value is undefined.
            overall (`float`, *optional*): by default the mean of the defined values.
            note (`str`, *optional*): the note if all values are defined.
        """
        values = np.asarray(values, dtype=np.float64)
        defined = np.isfinite(values)
        if overall is None and defined.any():
            overall = values[defined].mean()
        return cls(
            by_horizon=[float(value) if good else None for value, good in zip(values, defined, strict=True)],
            overall=float(overall) if overall is not None and np.isfinite(overall) else None,
            note=note if defined.all() else why,
        )

    @classmethod
    def undefined(cls, horizon: int, why: str) -> "Figures":
        """Figures with all values undefined."""
        return cls([None] * horizon, None, why)


def plain(tree: object) -> object:
    """Converts dataclasses, dicts, lists, tuples and numpy values to input for `json.dumps(..., allow_nan=False)`.

    Raises:
        ValueError: a number is not finite.
    """
    if isinstance(tree, float):  # includes np.float64
        if not math.isfinite(tree):
            raise ValueError(f"a figure is {tree}, which JSON cannot represent; use None and a note")
        return float(tree)
    if tree is None or isinstance(tree, (str, int)):
        return tree
    if isinstance(tree, dict):
        return {str(key): plain(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [plain(value) for value in tree]
    if isinstance(tree, (np.ndarray, np.generic)):
        return plain(tree.tolist())
    if is_dataclass(tree) and not isinstance(tree, type):
        return {field.name: plain(getattr(tree, field.name)) for field in fields(tree)}
    return tree
