"""The demonstration: fine-tunes mT5 on emotion summaries, with the embedded fictional records or your JSONL file.

It trains a small mT5 from random weights, which takes minutes on a CPU; `--model` fine-tunes a published one instead.
"""

import argparse
import os
import shlex
from collections.abc import Sequence

from ft_core.cli.options import ExactParser
from ft_core.cli.program import command_name

DEMO_RUN = "runs/emotion"


def demo_parser(program: str = "mt5-ft demo") -> argparse.ArgumentParser:
    """The options of the demonstration."""
    parser = ExactParser(prog=program, description=__doc__.splitlines()[0])
    parser.add_argument(
        "data", nargs="?", default="sample", help="JSONL file of records (default: the embedded records)"
    )
    parser.add_argument("--model", help="Hub name or folder (default: a small model with random weights)")
    parser.add_argument("--revision", help="branch, tag or commit of the model on the Hub")
    parser.add_argument("--source_fields", nargs="+", help="default: case_description consultation_process")
    parser.add_argument("--target_fields", nargs="+", help="default: experience_and_reflection")
    parser.add_argument("--output_dir", default=DEMO_RUN, help=f"run folder (default {DEMO_RUN})")
    parser.add_argument("--max_steps", type=int, default=-1, help="maximum number of steps (default: all epochs)")
    parser.add_argument("--time_budget", help="train as many steps as fit into this time, e.g. 10m")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help=f"replace an older run (always on for the embedded records in {DEMO_RUN})",
    )
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run")
    return parser


def demo_command(argv: Sequence[str], program: str = "mt5-ft demo") -> int:
    """`mt5-ft demo [FILE] [OPTIONS]`: four numbered steps that read as an example of the Python interface.

    Raises:
        ValueError: records, a model or a folder that cannot be used.
    """
    options = demo_parser(program).parse_args(argv)
    from transformers.utils import logging

    from ft_core.runs.folder import FINAL_MODEL, REPORT_HTML

    from ..runs.data import sample_path
    from ..runs.finish import summary_lines
    from ..runs.run import run_training
    from ..training.arguments import MT5Arguments, MT5DataArguments, MT5ModelArguments

    logging.disable_progress_bar()

    in_its_own = options.data == "sample" and os.path.normpath(options.output_dir) == os.path.normpath(DEMO_RUN)

    # 1. Records: the embedded sample of fictional cases, or your own file. Targets are cut at 128 tokens.
    data = MT5DataArguments(
        data=options.data,
        source_fields=options.source_fields,
        target_fields=options.target_fields,
        max_source_length=192,
        max_target_length=128,
    )
    args = MT5Arguments(
        output_dir=options.output_dir,
        resume=options.resume,
        overwrite=options.overwrite or (in_its_own and not options.resume),
        num_train_epochs=3,
        max_steps=options.max_steps,
        time_budget=options.time_budget,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=1,
        warmup_steps=0.1,
        eval_steps=80,
        save_steps=80,
        logging_steps=10,
        eval_generate_rows=16,
    )

    # 2. The model: yours, or a small one whose weights are random and whose vocabulary is trained on the records.
    model = MT5ModelArguments(model=options.model or "small", revision=options.revision, from_scratch=not options.model)
    if model.from_scratch:
        args.learning_rate, args.num_train_epochs = 3e-3, 10
        if args.process_index == 0:
            print("Training a small mT5 from random weights; to fine-tune the published one: --model google/mt5-small")

    # 3. Training: prints an estimate of time and disk first; the best weights are saved in final/.
    metrics = run_training(model, data, args)

    # 4. What came out: three summaries, the loss and ROUGE of the validation split; and the commands that go on.
    if args.process_index == 0:
        print("\n".join(summary_lines(metrics)))
        print(f"model       {args.output_dir}/{FINAL_MODEL}")
        print(f"report      {args.output_dir}/{REPORT_HTML}")
        records = sample_path() if options.data == "sample" else options.data
        print("\n".join(_next_commands(args.output_dir, str(records), args.device.type)))
        print(f"run folder  {args.output_dir}")
    return 0


def _next_commands(run: str, records: str, device: str) -> list[str]:
    """Commands for a finished run: summaries of a file of records, their scores, and a training on other records."""
    from ft_core.runs.folder import FINAL_MODEL

    program = command_name("mt5-ft")
    preset = "cpu" if device == "cpu" else "fast"
    model, summaries, data = (shlex.quote(name) for name in (f"{run}/{FINAL_MODEL}", f"{run}/summaries.jsonl", records))
    return [
        f"summarize   {program} summarize --model {model} --input {data} --output {summaries}",
        f"score       {program} evaluate --predictions {summaries} --data {data}",
        f"your own    {program} train --data FILE --output_dir runs/mine --preset {preset}",
    ]
