"""Settings dataclasses of the commands, from which `options.json` is generated."""

from ft_core.sweep.arguments import SweepArguments

from ..training.arguments import MT5Arguments, MT5DataArguments, MT5ModelArguments

TRAIN = (MT5ModelArguments, MT5DataArguments, MT5Arguments)
JOINT: dict[str, tuple[str, ...]] = {}
COMMANDS: dict[str, tuple[type, ...]] = {"train": TRAIN, "plan": TRAIN, "sweep": (SweepArguments, *TRAIN)}
