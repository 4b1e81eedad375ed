"""The `mt5-ft` command. Nothing heavy is imported until a command needs it."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ft_core.cli.options import ExactParser
from ft_core.cli.program import late, run_command

from .data import run_data
from .summaries import evaluate_command, summarize_command
from .vocabulary import expand_command, trim_command

USAGE = """\
mt5-ft COMMAND [OPTIONS]

  train       fine-tune mT5 on records, with an estimate of time and disk; --lora trains only adapters
  plan        estimate time, memory and disk of a run; --compare original fast compares presets
  summarize   write summaries of a file of records with a trained model
  evaluate    score a file of summaries against its records
  data        check records before a training: lengths, duplicates, scripts, texts in two files
  subset      remove a share of the rows of a file, keeping their distribution
  restore     restore the file that subset changed, byte for byte
  trim-vocab  remove vocabulary pieces that a corpus does not need; the model becomes much smaller
  expand-vocab  restore the full vocabulary of a trimmed and trained model
  clean       remove the checkpoints of a finished run, except the best one
  find-lr     find the learning rate for your weights and records in short runs; draws the curve
  sweep       hyperparameter search for train, with pruning and resuming
  demo        train, summarise and score on the embedded fictional records, in a few minutes
  report      diagnose a run and advise what to change, or compare several runs: Markdown and HTML
  push        push a model to the Hugging Face Hub, in one commit
  pull        download a model from the Hub, at one commit

mt5-ft COMMAND --help lists the options of a command; mt5-ft --version prints the version.

presets (--preset):
  original   the reference recipe: batches of one record in random order, 8 accumulation steps
  optimized  fewer epochs of smaller steps, batches of similar length, gradient clipping, less disk (default)
  fast       three epochs, with a trimmed vocabulary and an equal number of target tokens per step
  best       fast with the five epochs of original
  8gb        fast, with small batches and activation checkpointing: mT5-base in 8 GB of device memory
  cpu        fast with google/mt5-small on the CPU

tasks (--task, or fields):
  emotion_summary  case_description, consultation_process -> experience_and_reflection (the default)
  five_aspects     these three -> causes, symptoms, treatment_process, characteristics_of_illness, treatment_effect
  any other pair   --source_fields text --target_fields summary
  found in rows    conversations or messages, instruction/input/output, text or document, summary (said in one line)

examples:
  mt5-ft train --data cases.jsonl --output_dir runs/cases --preset fast
  mt5-ft train --data sample --model small --from_scratch --learning_rate 3e-3 --num_train_epochs 10    # no network
  mt5-ft summarize --model runs/cases/final --input new.jsonl --output summaries.jsonl
  mt5-ft data check train.csv validation.csv
  mt5-ft find-lr --data cases.jsonl --preset fast
  mt5-ft sweep --data cases.jsonl --space space.yaml --trials 20 --output_dir runs/sweep
  mt5-ft report runs/cases --lang zh
  mt5-ft push runs/cases OWNER/NAME --private
"""


def _parser(name: str, about: str) -> argparse.ArgumentParser:
    return ExactParser(prog=f"mt5-ft {name}", description=about)


def _settings(argv: Sequence[str], command: str, preset: str | None = None) -> tuple:
    """Settings of a training run: read from the table of options, and only then made into dataclasses."""
    from ft_core.cli.option_table import read_table
    from ft_core.cli.settings import build_settings, read_options
    from ft_core.io.files import check_data_file

    from ..training.presets import DEFAULT_PRESET, PRESETS

    argv = [*argv, "--preset", preset] if preset else argv
    options = read_table("mt5_ft", command)
    read = partial(read_options, options, argv, default_preset=DEFAULT_PRESET, program=f"mt5-ft {command}")
    given = read(presets=PRESETS)
    if given.get("resume") or given.get("resume_force"):
        from ..training.resuming import presets_of_run

        run = given.get("output_dir") or next(option.default for option in options if option.name == "output_dir")
        explicit = read(presets={key: {} for key in PRESETS})
        given = read(presets=presets_of_run(Path(run), given["preset"], explicit))
    for name in ("data", "validation_data"):
        check_data_file(given.get(name) or "")
    from .tables import TRAIN

    return build_settings(TRAIN, given)


def train_command(argv: Sequence[str]) -> int:
    """`mt5-ft train`."""
    if "--dry_run" in argv:
        raise ValueError("use `mt5-ft plan` instead of --dry_run: it takes the same options and writes nothing")
    model, data, args = _settings(argv, "train")
    from ft_core.runs.folder import FINAL_MODEL, REPORT_HTML

    from ..runs.finish import summary_lines
    from ..runs.run import run_training

    metrics = run_training(model, data, args)
    if args.process_index != 0:
        return 0
    lines = [
        *summary_lines(metrics),
        f"model       {os.path.join(args.output_dir, FINAL_MODEL)}",
        f"report      {os.path.join(args.output_dir, REPORT_HTML)}",
        f"run folder  {args.output_dir}",
    ]
    return _until_the_reader_leaves(_print_lines)(lines)


def plan_command(argv: Sequence[str]) -> int:
    """`mt5-ft plan [--compare PRESET PRESET ...]`."""
    argv = list(argv)
    presets: list[str] = []
    if "--compare" in argv:
        at = argv.index("--compare")
        end = next((i for i in range(at + 1, len(argv)) if argv[i].startswith("--")), len(argv))
        presets, argv = argv[at + 1 : end], argv[:at] + argv[end:]
        if len(presets) < 2:
            raise ValueError("--compare needs two presets or more, e.g. --compare original optimized")
    settings = [_settings(argv, "plan", preset) for preset in presets or [None]]  # all, before the first plan
    from ft_core.io.console import quiet

    from ..runs.planning import compare_plans
    from ..runs.run import plan_run

    plans = [plan_run(*settings[0])]
    with quiet():
        plans += [plan_run(*each) for each in settings[1:]]
    print("\n".join(compare_plans(plans) if presets else plans[0].lines()))
    return 0


def subset_command(argv: Sequence[str]) -> int:
    """`mt5-ft subset FILE --drop 0.2 [--by length|FIELD] --seed 42`."""
    about = (
        "Removes a share of the rows, keeping the distribution; writes FILE.backup first. Of JSON, CSV and Parquet it"
    )
    parser = _parser("subset", f"{about} writes the rest to a .jsonl file.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--drop", type=float, default=0.2, help="share of rows to remove (default 0.2)")
    parser.add_argument("--by", default="length", help="distribution to keep: length, or a category field")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args(argv)
    from ..data.subset import drop_subset

    print("\n".join(drop_subset(options.file, options.drop, by=options.by, seed=options.seed).lines()))
    return 0


def restore_command(argv: Sequence[str]) -> int:
    """`mt5-ft restore FILE`."""
    parser = _parser("restore", "Restores FILE from FILE.backup, byte for byte.")
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--force", action="store_true", help="restore even if FILE was changed since; the changes are lost"
    )
    options = parser.parse_args(argv)
    from ..data.subset import restore

    print(f"{restore(options.file, options.force)} is restored")
    return 0


def clean_command(argv: Sequence[str]) -> int:
    """`mt5-ft clean RUN [--yes]`."""
    parser = _parser("clean", "Lists the checkpoints of a finished run that are not needed; --yes removes them.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--yes", action="store_true", help="remove them")
    options = parser.parse_args(argv)
    from ..runs.cleaning import clean, plan_cleaning

    cleaning = plan_cleaning(options.run)
    if cleaning.reason:
        print(cleaning.reason)
    if not cleaning.doomed:
        print(f"nothing to remove in {options.run}")
        return 0
    if options.yes:
        clean(cleaning)
    for path in cleaning.doomed:
        print(f"{'removed' if options.yes else 'would remove'} {path}")
    print(f"{cleaning.freed / 2**20:.1f} MiB {'freed' if options.yes else 'to free; pass --yes to remove them'}")
    return 0


def run_sweep_command(argv: Sequence[str]) -> int:
    """`mt5-ft sweep`: hyperparameter search for `train`."""
    from ft_core.sweep.command import sweep_command

    from ..training.presets import DEFAULT_PRESET, PRESETS

    return sweep_command("mt5-ft", argv, {"": PRESETS}, DEFAULT_PRESET, "mt5_ft.runs.sweep")


def run_find_lr_command(argv: Sequence[str]) -> int:
    """`mt5-ft find-lr`: the learning rate for these weights and records."""
    from ft_core.training.find_lr.command import find_lr_command

    from ..training.presets import DEFAULT_PRESET, PRESETS

    def types_of(command: str) -> tuple[type, ...]:
        from .tables import TRAIN

        return TRAIN

    def find(command: str, settings: tuple) -> object:
        from ..runs.run import run_training

        return run_training(*settings, only_find_rate=True)

    return find_lr_command("mt5-ft", argv, {"train": PRESETS}, DEFAULT_PRESET, find, types_of)


def _print_lines(lines: Sequence[str]) -> int:
    print("\n".join(lines))
    return 0


def _until_the_reader_leaves(command: Callable[[Sequence[str]], int]) -> Callable[[Sequence[str]], int]:
    """The command; a reader that closes the pipe, such as `head -1`, is no failure of it."""

    def run(argv: Sequence[str]) -> int:
        try:
            code = command(argv)
            sys.stdout.flush()
        except BrokenPipeError:
            # what is still in the buffer would fail again when the interpreter ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return code

    return run


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train_command,
    "plan": _until_the_reader_leaves(plan_command),
    "summarize": _until_the_reader_leaves(summarize_command),
    "evaluate": _until_the_reader_leaves(evaluate_command),
    "data": _until_the_reader_leaves(run_data),
    "subset": _until_the_reader_leaves(subset_command),
    "restore": _until_the_reader_leaves(restore_command),
    "trim-vocab": _until_the_reader_leaves(trim_command),
    "expand-vocab": _until_the_reader_leaves(expand_command),
    "clean": _until_the_reader_leaves(clean_command),
    "find-lr": run_find_lr_command,
    "sweep": run_sweep_command,
    "demo": late("mt5_ft.cli.demo:demo_command"),
    "report": late("ft_core.report.command:report_command", program="mt5-ft", known="mt5_ft.report.views"),
    "push": late(
        "ft_core.hub.commands:push_command", program="mt5-ft", kept="final", find_model="mt5_ft.hub.push:mt5_model"
    ),
    "pull": late("ft_core.hub.commands:pull_command", program="mt5-ft", check="mt5_ft.hub.push:check_mt5_folder"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; bad input becomes one line on standard error and exit code 2."""
    return run_command(
        "mt5-ft", USAGE, COMMANDS, argv, "run the same command again to continue (train, sweep: with --resume)"
    )


if __name__ == "__main__":
    sys.exit(main())
