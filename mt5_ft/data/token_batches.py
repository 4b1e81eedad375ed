"""Plans an epoch as optimizer steps with equal numbers of target tokens, in micro-batches within a token budget.

Notable:
- The plan depends only on (seed, epoch), and every epoch has the same number of steps.
- Records are sorted by source and target length together: sorting by source only would not reduce the padding of the
  target (measured with 13k lognormal lengths, 8 per batch: 1.97 padded tokens per real token in random order, 1.02-1.05
  here).
- A step combines micro-batches from the whole order, so no step has only long or only short texts.
- All processes have the same number of micro-batches in a step, of about the same size.

Legend: a micro-batch is a list of rows; its padded tokens are rows x (longest source + longest target).
"""

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
from torch.utils.data import Dataset, Sampler

RECORDS_PER_STEP = 8  # a step has the target tokens of this many average records, if not set
POOL = 4096  # records sorted together
EQUAL = 0.04  # maximum standard deviation of the steps' target tokens, relative to their mean
MORE_BATCHES = 6  # maximum number of additional micro-batches per step, to equalise the steps
BLUR = 0.05  # random relative change of lengths before sorting
LEAST_BATCHES = 2  # minimum micro-batches per step, over all processes: one alone gives unequal steps
LIKELY_PADDING = 1.05
FULL_ENOUGH = 0.5  # with several processes, micro-batches use at least this share of the budget

Rows = list[int]
Step = tuple[tuple[int, ...], ...]


def by_both_lengths(sources: np.ndarray, targets: np.ndarray, rows: np.ndarray, batch: float) -> np.ndarray:
    """Sorts rows so that neighbours have similar source and similar target lengths.

    Rows are divided into bands by source length; each band is sorted by target length, alternately up and down.

    Args:
        sources, targets (`np.ndarray` of shape `(records,)`): lengths in tokens.
        rows (`np.ndarray`): the rows to sort.
        batch (`float`): records per batch; determines the number of bands.
    """
    bands = np.array_split(rows[np.argsort(sources[rows], kind="stable")], max(1, round(math.sqrt(len(rows) / batch))))
    ordered = [band[np.argsort(targets[band], kind="stable")] for band in bands]
    return np.concatenate([band[:: -1 if number % 2 else 1] for number, band in enumerate(ordered)])


def seeded(seed: int, epoch: int) -> np.random.Generator:
    """The random generator of an epoch."""
    return np.random.default_rng(np.random.SeedSequence((seed, epoch)))


class StepBatches(Sampler[Step]):
    """Yields the micro-batches of each process in each optimizer step, process by process.

    Args:
        sources, targets (`Sequence[int]`): tokens of each record.
        seed (`int`): seed of the order.
        tokens_per_batch (`int`): maximum padded tokens of a micro-batch; a longer record is a micro-batch alone.
        target_tokens_per_step (`int`): target tokens per step over all processes; 0 for those of `RECORDS_PER_STEP`
            records.
        processes (`int`): number of processes.

    Raises:
        ValueError: fewer records than processes.
    """

    def __init__(
        self,
        sources: Sequence[int],
        targets: Sequence[int],
        seed: int,
        tokens_per_batch: int,
        target_tokens_per_step: int = 0,
        processes: int = 1,
    ):
        self.sources, self.targets = np.asarray(sources), np.asarray(targets)
        self.seed = seed
        self.budget = tokens_per_batch
        self.processes = processes
        self.epoch = 0
        records, tokens = len(self.targets), int(self.targets.sum())
        if records < processes:
            raise ValueError(f"{records} records are too few for {processes} processes; add records")
        wanted = target_tokens_per_step or RECORDS_PER_STEP * tokens / records
        self.steps = int(np.clip(round(tokens / wanted), 1, records // processes))
        padded = LIKELY_PADDING * (int(self.sources.sum()) + tokens)
        of_budget = padded / (self.steps * self.budget)
        self._at_least = max(math.ceil(of_budget), processes, LEAST_BATCHES)
        self._at_most = self._at_least + MORE_BATCHES - 1
        if processes > 1:
            self._at_most = int(np.clip(of_budget / FULL_ENOUGH, self._at_least, self._at_most))

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps * self.processes

    def padded_tokens(self, rows: Sequence[int]) -> int:
        """Source and target tokens of a micro-batch, including padding."""
        rows = list(rows)
        return len(rows) * int(self.sources[rows].max() + self.targets[rows].max())

    def __iter__(self) -> Iterator[Step]:
        random = seeded(self.seed, self.epoch)
        groups, steps = self._planned(random, self._pieces)
        random.shuffle(steps)
        # the largest micro-batch comes first, so that out of memory occurs at the start
        first = next(number for number, step in enumerate(steps) if 0 in step)
        steps[0], steps[first] = steps[first], steps[0]
        for step in steps:
            for process in range(self.processes):
                yield tuple(tuple(groups[group][process]) for group in sorted(step))

    @cached_property
    def _pieces(self) -> int:
        """Number of micro-batches of an epoch before applying the budget: the smallest that gives equal steps."""
        spread = {}
        for each in range(self._at_least, self._at_most + 1):
            pieces = min(len(self.targets), self.steps * each)
            groups, steps = self._planned(seeded(self.seed, 0), pieces)
            tokens = [self._tokens(groups[number] for number in step) for step in steps]
            spread[pieces] = float(np.std(tokens) / np.mean(tokens))
            if spread[pieces] < EQUAL:
                return pieces
        return min(spread, key=spread.__getitem__)

    def _tokens(self, groups: Iterable[list[Rows]]) -> int:
        return sum(int(self.targets[rows].sum()) for group in groups for rows in group)

    def _planned(self, random: np.random.Generator, pieces: int) -> tuple[list[list[Rows]], list[list[int]]]:
        """Micro-batches in groups (one per process), largest first, and the groups of each step."""
        batches = self._shared_out(self._cut(self._ordered(random, pieces), pieces))
        batches.sort(key=self.padded_tokens, reverse=True)
        groups = [batches[first : first + self.processes] for first in range(0, len(batches), self.processes)]
        return groups, self._balanced([self._tokens([group]) for group in groups])

    def _ordered(self, random: np.random.Generator, pieces: int) -> np.ndarray:
        shuffled = random.permutation(len(self.targets))
        alike = len(shuffled) / pieces
        pools = np.array_split(shuffled, max(1, round(len(shuffled) / POOL)))
        # random changes of the lengths, so that batches differ between epochs
        lengths = [tokens * random.uniform(1 - BLUR, 1 + BLUR, len(tokens)) for tokens in (self.sources, self.targets)]
        return np.concatenate([by_both_lengths(*lengths, pool, alike) for pool in pools])

    def _cut(self, ordered: np.ndarray, count: int) -> list[Rows]:
        """Cuts the order into micro-batches with equal numbers of target tokens, smaller if the budget requires it."""
        tokens = self.targets[ordered]
        pieces = ((np.cumsum(tokens) - tokens / 2) * count / tokens.sum()).astype(int)
        batches: list[Rows] = []
        rows: Rows = []
        longest_source = longest_target = last = 0
        for row, piece in zip(ordered.tolist(), pieces.tolist(), strict=True):
            source = max(longest_source, int(self.sources[row]))
            target = max(longest_target, int(self.targets[row]))
            if rows and (piece != last or (len(rows) + 1) * (source + target) > self.budget):
                batches.append(rows)
                rows, source, target = [], int(self.sources[row]), int(self.targets[row])
            rows.append(row)
            longest_source, longest_target, last = source, target, piece
        return [*batches, rows]

    def _shared_out(self, batches: list[Rows]) -> list[Rows]:
        """Halves the micro-batches with most records until every step and process has one.

        If all have one record, the first are repeated, as Accelerate does for an incomplete last batch.
        """
        heap = [(-len(rows), number, rows) for number, rows in enumerate(batches)]
        heapq.heapify(heap)
        enough = self.steps * self.processes
        while len(heap) < enough or len(heap) % self.processes:
            if heap[0][0] == -1:
                break
            _, number, rows = heapq.heappop(heap)
            for part in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
                heapq.heappush(heap, (-len(part), number, part))
        found = [rows for _, _, rows in sorted(heap)]
        return found + found[: -len(found) % self.processes]

    def _balanced(self, tokens: list[int]) -> list[list[int]]:
        """Distributes groups to steps with equal target tokens (greedy, largest first)."""
        steps: list[list[int]] = [[] for _ in range(self.steps)]
        heap = [(0, number) for number in range(self.steps)]
        for group in sorted(range(len(tokens)), key=lambda number: -tokens[number]):
            held, number = heapq.heappop(heap)
            steps[number].append(group)
            heapq.heappush(heap, (held + tokens[group], number))
        return steps


class StepRecords(Dataset):
    """Tokenised records indexed by step: returns a list of micro-batches, each a list of records."""

    def __init__(self, records: Dataset):
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, step: Step) -> list[list[dict]]:
        return [[self.records[row] for row in rows] for rows in step]
