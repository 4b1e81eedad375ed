"""Work shared out to the nodes of a Ray cluster: the second engine of [`SharedWork`], beside the processes of a launch.

Notable:
- The work with its model and data is put into the object store once; each node copies it once, and each process of Ray
  unpacks it once.
- Ray repeats the units of a node that is lost on the other nodes. Parts are written by the driver, so the nodes need no
  common disk.
"""

import importlib.util
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..io.console import quiet
from ..io.files import write_folder
from .lock import launched_processes
from .shared_work import Job, Part, SharedWork, Unit, parts_of, write_part

ADDRESS_SECONDS = 20.0  # seconds in which a cluster must answer
RETRIES = 3  # of a unit whose node or process is lost
_unpacked: dict[str, Callable] = {}  # the work of the current job, in a process of Ray


def _check_address(address: str) -> None:
    """Raises OSError if nothing answers at `HOST:PORT`; Ray 2.60 would try for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ADDRESS_SECONDS).close()


@contextmanager
def connected() -> Iterator[None]:
    """Within it, this process is the driver of the cluster that `RAY_ADDRESS` or this machine names, or of a new one.

    Raises:
        ValueError: Ray is not installed, its cluster does not answer, or this process has a launcher.
    """
    if importlib.util.find_spec("ray") is None:
        raise ValueError("engine=ray needs the package ray; pip install 'kronos-ft[ray]'")
    if launched_processes() > 1:
        raise ValueError("engine=ray starts processes itself; run the command without a launcher")
    import ray

    was_connected = ray.is_initialized()
    if not was_connected:
        try:
            _check_address(os.environ.get("RAY_ADDRESS", ""))
            ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"engine=ray: the cluster cannot be reached ({' '.join(str(error).split())[:160]}); start it with "
                "'ray start --head', or unset RAY_ADDRESS"
            ) from error
    try:
        yield
    finally:
        if not was_connected:
            ray.shutdown()


def _made(packed: list, unit: Unit) -> Part:
    """In a process of Ray: the part of a unit."""
    import ray

    (reference,) = packed
    name = reference.hex()
    if name not in _unpacked:
        _unpacked.clear()
        _unpacked[name] = ray.get(reference)
    with quiet():
        return _unpacked[name](unit)


class RayWork(SharedWork):
    """The nodes of a Ray cluster; this process is the driver and writes the parts.

    Args:
        folder (`Path`): for parts.
        devices (`int`): accelerators of a unit; 0 for the CPU.
    """

    def __init__(self, folder: Path, devices: int = 0):
        super().__init__(folder)
        self._devices = devices

    def compute(
        self,
        name: str,
        units: Sequence[Unit],
        work: Callable[[Unit], Part],
        sizes: Sequence[float] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Writes the parts of all units; see [`~SharedWork.parts`].

        Raises:
            ValueError: an error of `work`, or a unit whose nodes were lost again and again.
        """
        import ray

        left = [position for position in range(len(units)) if not self._place(name, position).is_dir()]
        if sizes is not None:
            left.sort(key=lambda position: -sizes[position])
        make = ray.remote(_made).options(num_cpus=1, num_gpus=self._devices, max_retries=RETRIES)
        packed = [ray.put(work)]
        waiting = {make.remote(packed, units[position]): position for position in left}
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            position = waiting.pop(ready)
            try:
                part = ray.get(ready)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayError as error:
                raise ValueError(
                    f"Ray lost a part {RETRIES + 1} times ({' '.join(str(error).split())[:160]}); run the same command "
                    "again: it continues with the finished parts"
                ) from error
            write_folder(self._place(name, position), lambda folder, part=part: write_part(folder, part))
            if progress is not None:
                progress(len(units) - len(waiting), len(units))


@contextmanager
def ray_work(folder: Path, job: Job, devices: int = 0) -> Iterator[RayWork]:
    """As [`~ft_core.runs.shared_work.shared_work`], with the nodes of a Ray cluster.

    Raises:
        ValueError: as [`connected`], or another job uses the folder now.
    """
    work = RayWork(folder, devices)
    with connected(), parts_of(job, work):
        yield work
