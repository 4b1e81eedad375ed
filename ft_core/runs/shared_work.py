"""Work of a job that does not train, shared out to the processes of a launch (`torchrun`, `accelerate launch`).

Notable:
- A job is a list of units. What a unit contains does not depend on the number of processes, so neither does the result.
- Several processes write the parts to a folder, each part atomically; the first process then reads them in order.
- The folder names its job: the same job continues with the finished parts, with any number of processes.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from pyarrow import feather
from safetensors.numpy import load_file, save_file

from ..io.console import echo
from ..io.files import remove_tree, write_folder, write_json
from ..io.formats import read_json
from .lock import launched_processes, run_lock
from .processes import leave_group_at_exit, lost_process, process_group

PART_NAME = re.compile(r"\.?[a-z]+-\d{6}")  # hidden: not yet complete
# tables as uncompressed Arrow files, which are cheaper to write and to read than Parquet
MANIFEST, ARRAYS, TABLE = "manifest.json", "arrays.safetensors", ".arrow"
AT_ONCE = 128  # results that the processes exchange together
PATIENCE = timedelta(days=7)  # of a process that waits for the others; a launcher ends all when one is killed
Unit, Result = TypeVar("Unit"), TypeVar("Result")
Part = dict[str, np.ndarray | pd.DataFrame]
Job = Callable[[], Mapping[str, object]]


def shared_out(sizes: Sequence[float], processes: int) -> list[list[int]]:
    """Positions of the units of each process: the largest first, each to the process with the least so far.

    Args:
        sizes (`Sequence` of `float`): cost of each unit.
        processes (`int`): number of processes.
    """
    shares: list[list[int]] = [[] for _ in range(processes)]
    loads = [0.0] * processes
    for position in sorted(range(len(sizes)), key=lambda position: (-sizes[position], position)):
        lightest = loads.index(min(loads))
        shares[lightest].append(position)
        loads[lightest] += sizes[position]
    return [sorted(share) for share in shares]


def job_hash(values: Mapping[str, object]) -> str:
    """SHA-256 of the settings and the hashes of inputs that determine a job's results."""
    own = {"version": version("kronos-ft")}
    return hashlib.sha256(json.dumps(own | dict(values), sort_keys=True, default=str).encode()).hexdigest()


class SharedWork:
    """The processes of one job; use it as made by [`shared_work`].

    Args:
        folder (`Path`, *optional*): for parts; None keeps nothing, and needs a single process.
        rank, processes (`int`): number of this process, and how many there are.
    """

    def __init__(self, folder: Path | None = None, rank: int = 0, processes: int = 1):
        if folder is None and processes > 1:
            raise ValueError("several processes need a folder for their parts")
        self.folder, self.rank, self.processes = folder, rank, processes

    @property
    def is_main(self) -> bool:
        """Whether this process merges the parts and writes the results."""
        return self.rank == 0

    def parts(
        self,
        name: str,
        units: Sequence[Unit],
        work: Callable[[Unit], Part],
        sizes: Sequence[float] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[Part]:
        """The parts of all units, in order, on the main process; nothing on the others. All processes call it.

        Args:
            name (`str`): of these units among those of the job.
            units (`Sequence`): the same on all processes.
            work (`Callable`): makes the part of a unit: tables and arrays by name. Not called for a part that an
                interrupted job has finished.
            sizes (`Sequence` of `float`, *optional*): cost of each unit; by default equal.
            progress (*optional*): called with (units done, all units); assumes that the other processes are equally
                far.

        Raises:
            ValueError: an error of `work`, or another process has ended.
        """
        if self.folder is None:
            for done, unit in enumerate(units, start=1):
                yield work(unit)
                if progress is not None:
                    progress(done, len(units))
            return
        self.compute(name, units, work, sizes, progress)
        if self.is_main:
            yield from (self.read(name, position) for position in range(len(units)))

    def compute(
        self,
        name: str,
        units: Sequence[Unit],
        work: Callable[[Unit], Part],
        sizes: Sequence[float] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Writes the parts of this process, and returns when all processes have; see [`~SharedWork.parts`]."""
        finished = self._agreed([position for position in range(len(units)) if self._place(name, position).is_dir()])
        left = sorted(set(range(len(units))) - set(finished))
        costs = [1.0] * len(left) if sizes is None else [sizes[position] for position in left]
        mine = [left[place] for place in shared_out(costs, self.processes)[self.rank]]
        for done, position in enumerate(mine, start=1):
            part = work(units[position])
            write_folder(self._place(name, position), lambda folder, part=part: write_part(folder, part))
            if progress is not None:
                progress(min(len(units), len(finished) + done * self.processes), len(units))
        self.wait()

    def read(self, name: str, position: int) -> Part:
        """The part of a finished unit."""
        folder = self._place(name, position)
        part: Part = {path.stem: pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}  # earlier versions
        part |= {path.stem: feather.read_feather(path) for path in sorted(folder.glob(f"*{TABLE}"))}
        return part | (load_file(folder / ARRAYS) if (folder / ARRAYS).is_file() else {})

    def results(self, units: Sequence[Unit], work: Callable[[Unit], Result]) -> list[Result]:
        """What `work` returns for each unit, in order, on the main process; an empty list on the others."""
        mine = {position: work(units[position]) for position in range(self.rank, len(units), self.processes)}
        if self.processes == 1:
            return list(mine.values())
        found: list[dict | None] | None = [None] * self.processes if self.is_main else None
        with _together(self.processes):
            torch_distributed().gather_object(mine, found)
        return [found[position % self.processes][position] for position in range(len(units))] if self.is_main else []

    def wait(self) -> None:
        """Returns when all processes have called it.

        Raises:
            ValueError: another process has ended.
        """
        if self.processes > 1:
            with _together(self.processes):
                PartialState().wait_for_everyone()

    def _agreed(self, value: list[int]) -> list[int]:
        """The value of the main process, on all processes."""
        if self.processes == 1:
            return value
        with _together(self.processes):
            return broadcast_object_list([value])[0]

    def _place(self, name: str, position: int) -> Path:
        return self.folder / f"{name}-{position:06d}"


@contextmanager
def _together(processes: int) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        message = lost_process(error, processes)
        if message is None:
            raise
        raise ValueError(f"{message}; run the same command again: it continues with the finished parts") from error


def torch_distributed() -> object:
    """`torch.distributed`, imported late: a single process does not need it."""
    import torch

    return torch.distributed


def write_part(folder: Path, part: Part) -> None:
    """Writes tables and arrays into a folder; [`SharedWork.read`] reads them."""
    arrays = {name: np.ascontiguousarray(value) for name, value in part.items() if isinstance(value, np.ndarray)}
    if arrays:
        save_file(arrays, folder / ARRAYS)
    for name, value in part.items():
        if name not in arrays:
            table = pa.Table.from_pandas(value, preserve_index=False)
            feather.write_feather(table, folder / f"{name}{TABLE}", compression="uncompressed")


def joined_group(share: bool = True) -> tuple[int, int]:
    """Number of this process and of all processes of the launch, after joining their group; all of them must call it.

    Args:
        share (`bool`): with False, this process works alone and joins nothing.
    """
    if not share or launched_processes() == 1:
        return 0, 1
    state = process_group(PATIENCE)
    leave_group_at_exit()
    return state.process_index, state.num_processes


def shared_map(function: Callable[[Unit], Result], units: Iterable[Unit]) -> Iterator[Result]:
    """Like `map`, but each process calls `function` for its share of the units; every process gets all results.

    All processes of the group (see [`joined_group`]) call it with the same units, which each of them iterates over.
    `AT_ONCE` results are exchanged at a time.

    Raises:
        ValueError: an error of `function` on any process, the same on all; or another process has ended.
    """
    rank, processes = joined_group()
    if processes == 1:
        yield from map(function, units)
        return

    def outcome(unit: Unit) -> Result | ValueError:
        try:
            return function(unit)
        except ValueError as error:
            return error

    remaining = iter(units)
    while True:
        count, mine = 0, []
        for unit in islice(remaining, AT_ONCE):
            if count % processes == rank:  # the units of others are not kept
                mine.append(outcome(unit))
            count += 1
        if not count:
            return
        found: list[list[Result | ValueError] | None] = [None] * processes
        with _together(processes):
            torch_distributed().all_gather_object(found, mine)
        for position in range(count):
            result = found[position % processes][position // processes]
            if isinstance(result, ValueError):
                raise result
            yield result


@contextmanager
def shared_work(folder: Path, job: Job, keep_parts: bool = False, share: bool = True) -> Iterator[SharedWork]:
    """The processes of this launch; removes their parts when the context ends without an error.

    Args:
        folder (`Path`): for parts, beside the results; all processes see it. A single process makes none.
        job (`Callable`): gives what determines the results: settings, and hashes of data and weights.
        keep_parts (`bool`): write parts in a single process too, so that an interrupted job continues.
        share (`bool`): with False, this process works alone, also under a launcher.

    Raises:
        ValueError: another job uses the folder now, it holds files of something else, or another process has ended.
    """
    rank, processes = joined_group(share)
    if processes == 1 and not keep_parts:
        yield SharedWork()
        return
    work = SharedWork(folder, rank, processes)
    with parts_of(job, work):
        yield work


@contextmanager
def parts_of(job: Job, work: SharedWork) -> Iterator[None]:
    """Within it, the folder of the work holds parts of this job only; none afterwards, unless it failed."""
    folder = work.folder
    with run_lock(folder):
        if work.is_main:
            _prepare(folder, job_hash(job()))
        try:
            work.wait()
            yield
            work.wait()
        except BaseException:
            if work.is_main and not any(not path.name.startswith(".") for path in _part_folders(folder)):
                _clear(folder)  # nothing to continue with
            raise
        if work.is_main:
            _clear(folder)
    if work.is_main and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _part_folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and PART_NAME.match(path.name)]


def _clear(folder: Path) -> None:
    for path in _part_folders(folder):
        remove_tree(path)
    (folder / MANIFEST).unlink(missing_ok=True)


def _prepare(folder: Path, job: str) -> None:
    """Keeps the parts of the same job, and removes those of another.

    Raises:
        ValueError: the folder holds something else.
    """
    manifest = folder / MANIFEST
    foreign = [path for path in folder.iterdir() if not path.name.startswith((".lock", MANIFEST, f".{MANIFEST}"))]
    if foreign and not manifest.exists():
        raise ValueError(f"{folder} is needed for unfinished parts but holds {foreign[0].name}; rename the folder")
    try:
        known = read_json(manifest, "remove it", dict).get("job") if manifest.is_file() else None
    except ValueError:
        known = None
    parts = _part_folders(folder)
    finished = [path for path in parts if known == job and not path.name.startswith(".")]
    for path in parts:
        if path not in finished:  # of another job, or unfinished
            remove_tree(path)
    if finished:
        echo(f"continued   {len(finished):,} finished parts in {folder}")
    write_json(manifest, {"job": job})
