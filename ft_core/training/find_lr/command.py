"""The `find-lr` command of both programs. Imports nothing heavy before the command line is parsed."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ...cli.option_table import read_table
from ...cli.program import nearest_or_all
from ...cli.settings import build_settings, read_options
from ...io.files import check_data_file
from ...runs.folder import RUN_FILE, check_writable

NOT_HERE = ("resume", "resume_force", "overwrite", "overwrite_lock", "dry_run", "push_to_hub", "time_budget")


def find_lr_command(
    program: str,
    argv: Sequence[str],
    kinds: Mapping[str, Mapping],
    default_preset: str,
    find: Callable[[str, tuple], object],
    types_of: Callable[[str], Sequence[type]],
    about: str = "",
) -> int:
    """`find-lr KIND [OPTIONS of the run]`, or without KIND where there is one kind of run.

    Args:
        program: name for messages, such as `kronos-ft`.
        argv: what follows the command's name.
        kinds: presets of the runs by the word on the command line (`train` alone where no word is needed).
        default_preset: the preset when none is named.
        find: searches for the rate, from a kind and its settings.
        types_of: dataclasses of the settings of a kind.
        about: the help text when no kind is named.

    Raises:
        ValueError: an unknown kind, a setting that a search has no use for, and as `find`.
    """
    argv, kind = list(argv), next(iter(kinds))
    if len(kinds) > 1:
        if not argv or argv[0] in ("-h", "--help"):
            print(about)
            return 0 if argv else 2
        kind = argv.pop(0)
        if kind not in kinds:
            raise ValueError(f"{kind!r} has no learning rate to find; {nearest_or_all(kind, kinds)}")
    package = program.replace("-", "_")
    name = f"{program} find-lr {kind if len(kinds) > 1 else ''}".strip()
    given = read_options(
        read_table(package, kind),
        argv,
        values={"output_dir": f"runs/find-lr-{kind}"},
        presets=kinds[kind],
        default_preset=default_preset,
        program=name,
    )
    for setting in NOT_HERE:
        if given.get(setting):
            raise ValueError(f"{setting} is not a setting of find-lr, which trains nothing that is kept; remove it")
    for setting in ("data", "validation_data"):
        check_data_file(given.get(setting) or "")
    folder = Path(given["output_dir"])
    check_writable(folder)
    if (folder / RUN_FILE).is_file():
        raise ValueError(f"output_dir={folder} holds a run; pass another folder for the curve and the picture")
    settings = build_settings(types_of(kind), given)
    found = find(kind, settings)
    if settings[-1].process_index == 0:
        from .output import CURVE_FILE, PICTURE_FILE, write_search

        write_search(found, f"learning rate of {program} {kind}", folder)
        print(f"use         {found.line()}")
        print(f"curve       {os.path.join(folder, CURVE_FILE)}")
        print(f"picture     {os.path.join(folder, PICTURE_FILE)}")
    return 0
