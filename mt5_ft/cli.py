"""The `mt5-ft` command. Nothing heavy is imported until a command needs it."""

import argparse
import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ft_core.command_line import OneLineParser, run_command

USAGE = """\
mt5-ft COMMAND [OPTIONS]

  train       fine-tune mT5 on records (JSONL), with time and disk told beforehand
  plan        what a run would need; --compare original optimized puts presets side by side
  summarize   write summaries of a JSONL file with a trained model
  evaluate    score a file of summaries against its records
  subset      drop a share of a JSONL file, keeping its distribution; restore brings it back
  clean       remove the checkpoints of a finished run, but not the best one

mt5-ft COMMAND --help lists the options of a command.
"""


def _parser(name: str, about: str) -> argparse.ArgumentParser:
    return OneLineParser(prog=f"mt5-ft {name}", description=about)


def _settings(words: Sequence[str], program: str, preset: str | None = None) -> tuple:
    from ft_core.settings import parse_settings

    from .training.arguments import MT5Arguments, MT5DataArguments, MT5ModelArguments
    from .training.presets import DEFAULT_PRESET, PRESETS

    words = [*words, "--preset", preset] if preset else words
    types = (MT5ModelArguments, MT5DataArguments, MT5Arguments)
    return parse_settings(types, words, presets=PRESETS, default_preset=DEFAULT_PRESET, program=program)


def train_command(words: Sequence[str]) -> int:
    """`mt5-ft train`."""
    model, data, args = _settings(words, "mt5-ft train")
    from ft_core.run_folder import FINAL_MODEL

    from .training.run import run_training
    from .training.summary import summary_lines

    metrics = run_training(model, data, args)
    if args.process_index == 0:
        print("\n".join(summary_lines(metrics)))
        print(f"model       {os.path.join(args.output_dir, FINAL_MODEL)}")
        print(f"run folder  {args.output_dir}")
    return 0


def plan_command(words: Sequence[str]) -> int:
    """`mt5-ft plan [--compare PRESET PRESET ...]`."""
    words = list(words)
    presets: list[str] = []
    if "--compare" in words:
        at = words.index("--compare")
        end = next((i for i in range(at + 1, len(words)) if words[i].startswith("--")), len(words))
        presets, words = words[at + 1 : end], words[:at] + words[end:]
        if len(presets) < 2:
            raise ValueError("--compare needs two presets or more, e.g. --compare original optimized")
    from .training.planning import compare_plans
    from .training.run import plan_run

    plans = []
    for preset in presets or [None]:
        plans.append(plan_run(*_settings(words, "mt5-ft plan", preset), say=print if not plans else lambda line: None))
    print("\n".join(compare_plans(plans) if presets else plans[0].lines()))
    return 0


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def summarize_command(words: Sequence[str]) -> int:
    """`mt5-ft summarize --model DIR --input FILE --output FILE.jsonl`."""
    parser = _parser("summarize", "Writes one summary a record, in input order; goes on where it was interrupted.")
    parser.add_argument("--model", required=True, help="folder of a trained model (final/) or Hub name")
    parser.add_argument("--input", required=True, type=Path, help="JSONL file of records; targets are not needed")
    parser.add_argument("--output", required=True, type=Path, help="JSONL file to write: id and prediction")
    parser.add_argument("--source_fields", nargs="+", help="fields that make the source (default: as trained)")
    parser.add_argument("--target_fields", nargs="+", help="fields to split summaries into (default: as trained)")
    parser.add_argument("--policy", default="error", choices=["error", "drop"], help="records with a defect")
    parser.add_argument("--batch_size", type=int, default=8, help="records at once (default 8)")
    parser.add_argument("--num_beams", type=int, default=1, help="beams; 1 is greedy (default)")
    parser.add_argument("--max_length", type=int, help="most tokens of a summary (default: as trained, or 256)")
    parser.add_argument("--no_repeat_ngram_size", type=int, default=0, help="n-grams that occur once at most")
    parser.add_argument("--do_sample", action="store_true", help="draw tokens instead of taking the likeliest")
    parser.add_argument("--temperature", type=float, default=1.0, help="of sampling")
    parser.add_argument("--top_p", type=float, default=0.9, help="of sampling")
    parser.add_argument("--seed", type=int, default=42, help="of sampling")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output file")
    options = parser.parse_args(words)
    if options.output.exists() and not options.overwrite:
        raise ValueError(f"output={options.output} exists; pass --overwrite or another name")
    if not options.output.resolve().parent.is_dir():
        raise ValueError(f"output={options.output} lies in no existing folder; create it first")

    import torch
    from transformers.utils import logging

    from ft_core.progress import LineProgress

    from .data.records import EMOTION_SUMMARY, TaskFields, read_records
    from .generation import GenerationSettings, summarize_file
    from .models.loading import load_model, load_tokenizer
    from .models.task import read_task

    task = read_task(options.model) or {}
    fields = TaskFields(
        tuple(options.source_fields or task.get("source_fields") or EMOTION_SUMMARY.sources),
        tuple(options.target_fields or task.get("target_fields") or EMOTION_SUMMARY.targets),
        task.get("id", "id"),
    )
    settings = GenerationSettings(
        max_length=options.max_length or task.get("max_target_length", 256),
        num_beams=options.num_beams,
        do_sample=options.do_sample,
        temperature=options.temperature,
        top_p=options.top_p,
        no_repeat_ngram_size=options.no_repeat_ngram_size,
        batch_size=options.batch_size,
        max_source_length=task.get("max_source_length", 256),
        seed=options.seed,
    )
    records, report = read_records(options.input, fields, options.policy, need_target=False)
    for line in report.lines() if report.defects else ():
        print(line, file=sys.stderr)
    logging.disable_progress_bar()
    tokenizer = load_tokenizer(options.model)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    model = load_model(options.model, tokenizer).to(device).eval()
    weights = sorted(Path(options.model).glob("*.safetensors")) if Path(options.model).is_dir() else []
    key = "|".join([_digest(options.input), *map(_digest, weights), options.model, repr(settings), repr(fields)])
    resumed = summarize_file(
        model,
        tokenizer,
        records,
        options.output,
        settings,
        key=hashlib.sha256(key.encode()).hexdigest(),
        prefix=task.get("prefix", ""),
        targets=fields.targets,
        progress=LineProgress("summarised"),
    )
    went_on = f" ({resumed:,} were done before)" if resumed else ""
    print(f"{len(records):,} summaries{went_on} in {options.output}")
    return 0


def evaluate_command(words: Sequence[str]) -> int:
    """`mt5-ft evaluate --predictions FILE --data FILE`."""
    parser = _parser("evaluate", "Scores summaries against the targets of their records, matched by id.")
    parser.add_argument("--predictions", required=True, type=Path, help="JSONL file of summarize")
    parser.add_argument("--data", required=True, type=Path, help="JSONL file of records with targets")
    parser.add_argument("--task", default="emotion_summary", help="named fields")
    parser.add_argument("--source_fields", nargs="+", help="fields that make the source")
    parser.add_argument("--target_fields", nargs="+", help="fields that make the target")
    parser.add_argument("--chinese", default="char", choices=["char", "jieba"], help="how Chinese is cut")
    parser.add_argument("--output", type=Path, help="JSON file for the scores")
    options = parser.parse_args(words)

    from ft_core.files import write_json

    from .data.records import TASKS, TaskFields, read_records
    from .generation import read_predictions
    from .metrics import SummaryMetric

    if options.task not in TASKS:
        raise ValueError(f"task={options.task!r} is not known; use one of {', '.join(TASKS)}, or name the fields")
    fields = TASKS[options.task]
    if options.source_fields and options.target_fields:
        fields = TaskFields(tuple(options.source_fields), tuple(options.target_fields))
    predictions = read_predictions(options.predictions)
    records, _ = read_records(options.data, fields)
    matched = [record for record in records if record.id in predictions]
    if not matched:
        raise ValueError(f"no id of {options.predictions} occurs in {options.data}; pass the file that was summarised")
    scores = SummaryMetric().compute(
        predictions=[predictions[record.id] for record in matched],
        references=[record.target for record in matched],
        chinese=options.chinese,
    )
    print(f"{len(matched):,} of {len(records):,} records have a summary")
    for name, value in scores.items():
        print(f"{name:16}{value:10.3f}")
    if options.output:
        write_json(options.output, scores)
    return 0


def subset_command(words: Sequence[str]) -> int:
    """`mt5-ft subset FILE --drop 0.2 [--by length|FIELD] --seed 42`."""
    parser = _parser("subset", "Drops a share of the rows, keeping lengths and categories; writes FILE.backup first.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--drop", type=float, default=0.2, help="share of rows to drop (default 0.2)")
    parser.add_argument("--by", default="length", help="length, or a category field to keep too")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args(words)
    from .data.subset import drop_subset

    print("\n".join(drop_subset(options.file, options.drop, by=options.by, seed=options.seed).lines()))
    return 0


def restore_command(words: Sequence[str]) -> int:
    """`mt5-ft restore FILE`."""
    parser = _parser("restore", "Brings FILE.backup back, byte for byte.")
    parser.add_argument("file", type=Path)
    options = parser.parse_args(words)
    from .data.subset import restore

    print(f"{restore(options.file)} is restored")
    return 0


def clean_command(words: Sequence[str]) -> int:
    """`mt5-ft clean RUN [--yes]`."""
    parser = _parser("clean", "Shows which checkpoints of a finished run would go; --yes removes them.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--yes", action="store_true", help="remove them")
    options = parser.parse_args(words)
    from .training.cleaning import clean, plan_cleaning

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


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train_command,
    "plan": plan_command,
    "summarize": summarize_command,
    "evaluate": evaluate_command,
    "subset": subset_command,
    "restore": restore_command,
    "clean": clean_command,
}


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; bad input becomes one line on standard error and exit code 2."""
    return run_command("mt5-ft", USAGE, COMMANDS, words, interrupted="the same command goes on (train: with --resume)")


if __name__ == "__main__":
    sys.exit(main())
