"""The `sweep` command of both programs. Imports nothing heavy before the command line is parsed."""

import importlib.util
from collections.abc import Mapping, Sequence
from importlib import import_module

from ..cli.option_table import read_table
from ..cli.program import nearest_or_all
from ..cli.settings import read_options

NEEDED = {"optuna": "optuna", "sklearn": "scikit-learn"}


def sweep_command(
    program: str,
    argv: Sequence[str],
    kinds: Mapping[str, Mapping],
    default_preset: str,
    stages: str,
    about: str = "",
) -> int:
    """Searches over settings: `sweep KIND --space FILE.yaml`, or without KIND where there is one kind of run.

    Args:
        program: name for messages, such as `kronos-ft`.
        argv: what follows the command's name.
        kinds: presets of the runs by the word on the command line (`""` where none is needed).
        default_preset: the preset when none is named.
        stages: name of the module with a function `KIND_stage` for each, which describes the runs.
        about: the help text when no kind is named.

    Raises:
        ValueError: an unknown kind, a missing package, and as [`ft_core.sweep.search.run_sweep`].
    """
    argv, kind = list(argv), ""
    if "" not in kinds:
        if not argv or argv[0] in ("-h", "--help"):
            print(about)
            return 0 if argv else 2
        kind = argv.pop(0)
        if kind not in kinds:
            raise ValueError(f"{kind!r} cannot be swept; {nearest_or_all(kind, kinds)}")
    name = f"{program} sweep {kind}".strip()
    package = stages.split(".")[0]
    read_options(
        read_table(package, f"sweep {kind}".strip()),
        argv,
        presets=kinds[kind],
        default_preset=default_preset,
        program=name,
    )
    for module, requirement in NEEDED.items():
        if importlib.util.find_spec(module) is None:
            raise ValueError(f"{program} sweep needs the package {requirement}; pip install 'kronos-ft[sweep]'")
    from .search import run_sweep

    run_sweep(getattr(import_module(stages), f"{kind or 'mt5'}_stage"), argv, name)
    return 0
