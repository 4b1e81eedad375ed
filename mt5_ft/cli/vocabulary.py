"""The commands `trim-vocab` and `expand-vocab` of `mt5-ft`."""

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ft_core.cli.options import ExactParser


def _trim_parser() -> argparse.ArgumentParser:
    parser = ExactParser(
        prog="mt5-ft trim-vocab",
        description="Removes vocabulary pieces that a corpus does not need; any text can still be encoded.",
    )
    parser.add_argument("--model", required=True, help="model folder or Hub name")
    parser.add_argument("--data", required=True, action="append", help="file of records, or sample; can be repeated")
    parser.add_argument("--output", required=True, type=Path, help="folder to write, new or empty")
    parser.add_argument(
        "--languages", nargs="*", help="languages of other texts, identified by script only (default zh en)"
    )
    parser.add_argument("--extra", type=int, help="most frequent pieces of each language to keep (default 2000)")
    parser.add_argument(
        "--task", default="emotion_summary", help="task that names the fields (default emotion_summary)"
    )
    parser.add_argument("--source_fields", nargs="+", help="fields of the source")
    parser.add_argument("--target_fields", nargs="+", help="fields of the target")
    parser.add_argument("--prefix", default="", help="text before each source, as in training")
    parser.add_argument("--policy", default="error", choices=["error", "drop"], help="how to handle invalid records")
    return parser


def _check_output(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"output={output} exists; choose a new or an empty folder")


def _write(output: Path, model: str, fill: Callable[[Path], None]) -> None:
    """Writes the folder atomically, with the task of its source model."""
    from ft_core.io.files import write_folder

    from ..models.task import TASK_FILE

    def fill_all(folder: Path) -> None:
        fill(folder)
        if (Path(model) / TASK_FILE).is_file():
            shutil.copyfile(Path(model) / TASK_FILE, folder / TASK_FILE)

    output.parent.mkdir(parents=True, exist_ok=True)
    write_folder(output, fill_all)


def _texts(options: argparse.Namespace) -> list[str]:
    from ..data.records import named_fields, read_records
    from ..runs.data import sample_path

    fields = named_fields(options.task, options.source_fields, options.target_fields)
    texts = []
    for name in options.data:
        path = sample_path() if name == "sample" else Path(name)
        records, report = read_records(path, fields, options.policy, need_id=False)
        for line in report.noteworthy():
            print(line, file=sys.stderr)
        # apart from each other, as a model reads and writes them
        texts += [text for record in records for text in (options.prefix + record.source, record.target)]
    return texts


def trim_command(argv: Sequence[str]) -> int:
    """`mt5-ft trim-vocab --model DIR_OR_NAME --data FILE.jsonl --output DIR`."""
    options = _trim_parser().parse_args(argv)
    _check_output(options.output)

    from transformers.utils import logging

    from ..models.kept_pieces import EXTRA, MAIN_LANGUAGES, choose_pieces
    from ..models.loading import load_model, load_tokenizer
    from ..models.trim_report import TrimReport, measure_texts, measure_unseen
    from ..models.vocabulary import trim_model, trim_tokenizer, write_trimmed

    texts = _texts(options)
    chosen = MAIN_LANGUAGES if options.languages is None else options.languages
    extra = EXTRA if options.extra is None else options.extra
    logging.disable_progress_bar()
    tokenizer = load_tokenizer(options.model)
    kept = choose_pieces(tokenizer, texts, chosen, extra)
    trimmed = trim_tokenizer(tokenizer, kept)
    model = load_model(options.model, tokenizer)
    before = model.num_parameters()
    trim_model(model, tokenizer, kept)
    _write(options.output, options.model, lambda folder: write_trimmed(folder, model, trimmed, kept))
    report = TrimReport(
        pieces_before=len(tokenizer),
        pieces_after=len(trimmed),
        parameters_before=before,
        parameters_after=model.num_parameters(),
        corpus=measure_texts(tokenizer, trimmed, kept, texts),
        unseen=measure_unseen(tokenizer, texts, chosen, extra, texts_each=2),
    )
    print("\n".join(report.lines()))
    if len(trimmed) == len(tokenizer):
        print(f"model       {options.output}; no piece was removed: the size of the model did not change")
    else:
        print(f"model       {options.output}; mt5-ft expand-vocab restores the full vocabulary after training")
    return 0


def expand_command(argv: Sequence[str]) -> int:
    """`mt5-ft expand-vocab --model TRAINED --output DIR`."""
    parser = ExactParser(
        prog="mt5-ft expand-vocab",
        description="Restores the full vocabulary of a trimmed model; restored pieces have their old weights.",
    )
    parser.add_argument("--model", required=True, help="folder or Hub name of the trained model")
    parser.add_argument("--output", required=True, type=Path, help="folder to write, new or empty")
    parser.add_argument("--original", help="the full model (default: the model that was trimmed)")
    options = parser.parse_args(argv)
    _check_output(options.output)

    from transformers.utils import logging

    from ..models.vocabulary import expand

    logging.disable_progress_bar()
    model, tokenizer = expand(options.model, options.original)

    def fill(folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    _write(options.output, options.model, fill)
    print(f"pieces      {len(tokenizer):,}")
    print(f"parameters  {model.num_parameters():,}")
    print(f"model       {options.output}")
    print(
        "untrained   the restored pieces were not trained and compete with the trained ones; "
        "evaluate the model before you use it"
    )
    return 0
