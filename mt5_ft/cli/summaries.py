"""The commands `summarize` and `evaluate` of `mt5-ft`."""

import argparse
import dataclasses
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ft_core.cli.options import ExactParser

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ..data.records import TaskFields


SAMPLING = (
    *("num_beams", "do_sample", "temperature", "top_p", "no_repeat_ngram_size", "batch_size", "seed"),
    *("min_length", "repetition_penalty", "length_penalty"),
)


def _summarize_parser() -> argparse.ArgumentParser:
    parser = ExactParser(
        prog="mt5-ft summarize",
        description="Writes one summary per record, in input order; continues after an interruption.",
    )
    parser.add_argument("--model", required=True, help="folder of a trained model (final/) or Hub name")
    parser.add_argument(
        "--input", required=True, type=Path, help="records (file or Hub data set); targets are not needed"
    )
    parser.add_argument("--output", required=True, type=Path, help="JSONL file to write: id and prediction")
    parser.add_argument("--source_fields", nargs="+", help="fields of the source (default: as in training)")
    parser.add_argument("--target_fields", nargs="+", help="fields to split summaries into (default: as in training)")
    parser.add_argument("--id_field", help="field of the id, or none to number the records (default: as in training)")
    parser.add_argument("--policy", default="error", choices=["error", "drop"], help="how to handle invalid records")
    parser.add_argument("--batch_size", type=int, default=8, help="records per batch (default 8)")
    parser.add_argument("--num_beams", type=int, default=1, help="number of beams; 1 is greedy (default)")
    parser.add_argument("--max_length", type=int, help="maximum tokens of a summary (default: as in training, or 256)")
    parser.add_argument("--min_length", type=int, default=0, help="minimum tokens of a summary (default 0)")
    parser.add_argument("--max_source_length", type=int, help="maximum source tokens (default: as in training, or 256)")
    parser.add_argument(
        "--repetition_penalty",
        type=float,
        help="above 1: tokens that occurred become less likely (default: as the model)",
    )
    parser.add_argument(
        "--length_penalty", type=float, help="with beams, above 0: prefer longer summaries (default: as the model)"
    )
    parser.add_argument("--no_repeat_ngram_size", type=int, default=0, help="size of n-grams that must not repeat")
    parser.add_argument("--do_sample", action="store_true", help="sample tokens instead of taking the most likely")
    parser.add_argument("--temperature", type=float, default=1.0, help="of sampling")
    parser.add_argument("--top_p", type=float, default=0.9, help="of sampling")
    parser.add_argument("--seed", type=int, default=42, help="of sampling")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output file")
    return parser


def _check_output(options: argparse.Namespace) -> None:
    output, source = options.output, options.input
    if output.exists() and source.exists() and os.path.samefile(output, source):
        raise ValueError(f"output={output} is the input file and would be overwritten; choose another output")
    if output.is_dir():
        raise ValueError(f"output={output} is a folder; pass a file")
    if not output.resolve().parent.is_dir():
        raise ValueError(f"output={output} has no existing parent folder; create it first")


def model_digest(model: "PreTrainedModel") -> str:
    """A hash of all weights and of the settings of generation, wherever they were loaded from."""
    digest = hashlib.sha256(repr(sorted(model.generation_config.to_diff_dict().items())).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def summarize_command(argv: Sequence[str]) -> int:
    """`mt5-ft summarize --model DIR --input FILE --output FILE.jsonl`."""
    options = _summarize_parser().parse_args(argv)
    _check_output(options)

    import torch
    from transformers.utils import logging

    from ft_core.io.console import echo, note
    from ft_core.io.progress_lines import LineProgress
    from ft_core.runs.shared_work import joined_group

    from ..data.records import EMOTION_SUMMARY, TaskFields, read_records
    from ..models.loading import load_model, load_tokenizer
    from ..models.task import read_task
    from ..summaries.generation import GenerationSettings, truncation_warning
    from ..summaries.predictions import PART, data_digest, is_complete, summarize_file

    joined_group()  # gives each process its device
    task = read_task(options.model) or {}
    fields = TaskFields(
        tuple(options.source_fields or task.get("source_fields") or EMOTION_SUMMARY.sources),
        tuple(options.target_fields or task.get("target_fields") or EMOTION_SUMMARY.targets),
        options.id_field or task.get("id", "id"),
    )
    settings = GenerationSettings(
        max_length=task.get("max_target_length", 256) if options.max_length is None else options.max_length,
        max_source_length=(
            task.get("max_source_length", 256) if options.max_source_length is None else options.max_source_length
        ),
        **{name: getattr(options, name) for name in SAMPLING},
    )
    records, report = read_records(options.input, fields, options.policy, need_target=False)
    fields = report.fields
    for line in report.noteworthy():
        note(line)
    logging.disable_progress_bar()
    tokenizer = load_tokenizer(options.model)
    prefix = task.get("prefix", "")
    texts = [prefix + record.source for record in records]
    if warning := truncation_warning(tokenizer, texts, settings.max_source_length):
        note(f"WARNING: {warning}")
    model = load_model(options.model, tokenizer)
    header = {
        "input": data_digest(options.input),
        "model": model_digest(model),
        "tokenizer": hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
        "sources": list(fields.sources),
        "targets": list(fields.targets),
        "id": fields.id,
        "prefix": prefix,
        "policy": options.policy,
        # settings that are not set do not count: unfinished files of earlier versions do not have them
        **{name: value for name, value in dataclasses.asdict(settings).items() if value is not None},
    }
    if options.output.exists() and not options.overwrite:
        if is_complete(options.output, header):
            echo(f"{options.output} is already complete: {len(records):,} summaries with the same input and settings")
            return 0
        if not options.output.with_name(options.output.name + PART).exists():
            raise ValueError(f"output={options.output} exists; pass --overwrite or another output")
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    resumed = summarize_file(
        model.to(device).eval(),
        tokenizer,
        records,
        options.output,
        settings,
        fields,
        header=header,
        prefix=prefix,
        overwrite=options.overwrite,
        progress=LineProgress("summarised"),
        share=True,
    )
    went_on = f" ({resumed:,} were done before)" if resumed else ""
    echo(f"{len(records):,} summaries{went_on} in {options.output}")
    return 0


def _evaluate_parser() -> argparse.ArgumentParser:
    parser = ExactParser(
        prog="mt5-ft evaluate", description="Scores summaries against the targets of their records, matched by id."
    )
    parser.add_argument("--predictions", required=True, type=Path, help="output of mt5-ft summarize")
    parser.add_argument("--data", required=True, type=Path, help="file of records with targets")
    parser.add_argument("--task", help="task that names the fields (default: as in summarize, or emotion_summary)")
    parser.add_argument("--source_fields", nargs="+", help="fields of the source")
    parser.add_argument("--target_fields", nargs="+", help="fields of the target")
    parser.add_argument("--id_field", help="field of the id, or none to number the records (default: as in summarize)")
    parser.add_argument(
        "--allow_partial", action="store_true", help="score the pairs although predictions or records have no partner"
    )
    parser.add_argument("--policy", default="error", choices=["error", "drop"], help="how to handle invalid records")
    parser.add_argument("--chinese", default="char", choices=["char", "jieba"], help="how to tokenise Chinese")
    parser.add_argument("--output", type=Path, help="JSON file for the scores")
    return parser


def _fields_to_score(options: argparse.Namespace) -> "TaskFields":
    from ..data.records import EMOTION_SUMMARY, named_fields
    from ..summaries.predictions import fields_of_predictions

    if options.task or options.source_fields or options.target_fields:
        task = options.task or "emotion_summary"
        return named_fields(task, options.source_fields, options.target_fields, options.id_field)
    fields = fields_of_predictions(options.predictions) or EMOTION_SUMMARY
    return dataclasses.replace(fields, id=options.id_field) if options.id_field else fields


def evaluate_command(argv: Sequence[str]) -> int:
    """`mt5-ft evaluate --predictions FILE --data FILE`."""
    options = _evaluate_parser().parse_args(argv)

    from ft_core.io.console import is_main_process
    from ft_core.io.files import write_json

    from ..data.records import read_records
    from ..summaries.health import health_warnings
    from ..summaries.metrics import score_texts
    from ..summaries.predictions import match_predictions, read_predictions

    if not is_main_process():  # scores take seconds: one process of a launch computes them
        return 0
    fields = _fields_to_score(options)
    if options.output and not options.output.resolve().parent.is_dir():
        raise ValueError(f"output={options.output} has no existing parent folder; create it first")
    predictions = read_predictions(options.predictions)
    records, report = read_records(options.data, fields, options.policy)
    for line in report.noteworthy():
        print(line, file=sys.stderr)
    matching = match_predictions(predictions, records, report, options.predictions, allow_partial=options.allow_partial)
    scores = score_texts(
        [predictions[record.id].text for record in matching.records],
        [record.target for record in matching.records],
        options.chinese,
        [record.source for record in matching.records],
    )
    if options.output:
        write_json(options.output, scores | matching.counts())
    print(f"{len(matching.records):,} of {len(records):,} records have a summary")
    if matching.unmatched_predictions:
        print(f"WARNING: {matching.unmatched_predictions:,} predictions have no record", file=sys.stderr)
    if 2 * len(matching.records) < len(records):
        print(
            "WARNING: fewer than half of the records are scored; check that --data is the summarised file",
            file=sys.stderr,
        )
    for line in health_warnings(scores, len(matching.records)):
        print(f"WARNING: {line}", file=sys.stderr)
    for name, value in scores.items():
        print(f"{name:24}{value:10.3f}")
    return 0
