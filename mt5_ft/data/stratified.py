"""Stratified samples of rows by category and text length, and how far the distribution of lengths changed."""

import numpy as np

LENGTH_BINS = 20  # quantile bins of text length per category
ROWS_PER_BIN = 5  # minimum rows per bin


def ks_statistic(first: np.ndarray, second: np.ndarray) -> float:
    """Largest distance between the two empirical distribution functions (two-sample Kolmogorov-Smirnov statistic)."""
    grid = np.concatenate((first, second))
    shares = [np.searchsorted(np.sort(sample), grid, side="right") / len(sample) for sample in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def text_length(value: object) -> int:
    """Characters of all strings in a JSON value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(text_length, value)) if isinstance(value, list) else 0


def _apportion(sizes: list[int], keep: int, rng: np.random.Generator) -> list[int]:
    """Number to keep of each group: `keep` in total; each count and cumulative count is within 1 of its exact share."""
    total = sum(sizes)
    edges = np.concatenate(([0], np.cumsum(sizes)))
    # integer arithmetic: a rounding error in a cumulative share would lose a row
    marks = (edges * keep + int(rng.integers(total))) // total
    return np.diff(marks).tolist()


def choose_rows(lengths: np.ndarray, categories: list[str], keep: int, seed: int) -> np.ndarray:
    """Samples `keep` rows, stratified by category and by length within each category.

    Args:
        lengths (`np.ndarray` of int, shape `(N,)`): text length of each row, in characters.
        categories (`list[str]` of length N): category of each row.
        keep (`int`): rows to sample, from 0 to N.
        seed (`int`): random seed.

    Returns:
        `np.ndarray` of bool, shape `(N,)`: the sampled rows.
    """
    rng = np.random.default_rng(seed)
    groups: dict[str, list[int]] = {name: [] for name in sorted(set(categories))}
    for index, category in enumerate(categories):
        groups[category].append(index)
    chosen = np.zeros(len(lengths), dtype=bool)
    counts = _apportion([len(group) for group in groups.values()], keep, rng)
    for group, count in zip(groups.values(), counts, strict=True):
        by_length = np.array(group)[np.argsort(lengths[group], kind="stable")]
        bins = np.array_split(by_length, min(LENGTH_BINS, max(1, len(group) // ROWS_PER_BIN)))
        for rows, kept in zip(bins, _apportion([len(rows) for rows in bins], count, rng), strict=True):
            chosen[rng.choice(rows, kept, replace=False)] = True
    return chosen
