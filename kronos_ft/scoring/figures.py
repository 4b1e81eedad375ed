"""One figure at each horizon and over all of them, with a reason where it is not defined.

Figures go to JSON, which knows neither NaN nor infinity: what cannot be computed is None and says why.
"""

from dataclasses import asdict, dataclass, is_dataclass

import numpy as np


@dataclass(frozen=True)
class Figures:
    """One figure by horizon.

    Attributes:
        by_horizon (`list` of `float` or `None`): the figure at each bar of the horizon.
        overall (`float`, *optional*): the figure over all horizons; its function says how it is made.
        note (`str`, *optional*): why figures are None, or what limits them.
    """

    by_horizon: list[float | None]
    overall: float | None
    note: str | None = None

    @classmethod
    def of(cls, values: np.ndarray, why: str, overall: float | None = None, note: str | None = None) -> "Figures":
        """Figures from an array in which NaN and infinity mean 'not defined'.

        Args:
            values (`np.ndarray` of shape `(H,)`): the figure at each horizon.
            why (`str`): the reason of undefined figures; becomes the note when there are any.
            overall (`float`, *optional*): the mean of the defined figures when None.
            note (`str`, *optional*): a remark that holds although the figures are defined.
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
        """Figures of which none can be computed."""
        return cls([None] * horizon, None, why)


def plain(tree: object) -> object:
    """Dataclasses, dicts, lists, tuples and numpy values as what `json.dumps(..., allow_nan=False)` takes.

    Raises:
        ValueError: a number that is not finite; it should have been None.
    """
    if is_dataclass(tree) and not isinstance(tree, type):
        return plain(asdict(tree))
    if isinstance(tree, dict):
        return {str(key): plain(value) for key, value in tree.items()}
    if isinstance(tree, np.ndarray):
        return plain(tree.tolist())
    if isinstance(tree, (list, tuple)):
        return [plain(value) for value in tree]
    if isinstance(tree, np.generic):
        return plain(tree.item())
    if isinstance(tree, float) and not np.isfinite(tree):
        raise ValueError(f"a figure is {tree}, which JSON does not know; report None and a reason")
    return tree
