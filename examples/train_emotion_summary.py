"""Fine-tune mT5 on emotion summaries: the embedded fictional records, or a JSONL of your own.

    python examples/train_emotion_summary.py [records.jsonl] [--source_fields text --target_fields summary]
    accelerate launch --config_file examples/accelerate/cpu_2.yaml examples/train_emotion_summary.py

When the model cannot be reached it trains a small mT5 from random weights, to show that everything works.
"""

import sys

from transformers.utils import logging

from ft_core.command_line import OneLineParser, one_line_errors
from ft_core.run_folder import FINAL_MODEL
from mt5_ft.models.loading import ModelUnreachable, load_tokenizer
from mt5_ft.training.arguments import MT5Arguments, MT5DataArguments, MT5ModelArguments
from mt5_ft.training.run import run_training
from mt5_ft.training.summary import summary_lines


def main() -> int:
    """Trains, and says what came out."""
    parser = OneLineParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", default="sample", help="JSONL file of records (default: the embedded ones)")
    parser.add_argument("--model", default="google/mt5-base", help="Hub name or folder")
    parser.add_argument("--source_fields", nargs="+", help="default: case_description consultation_process")
    parser.add_argument("--target_fields", nargs="+", help="default: experience_and_reflection")
    parser.add_argument("--output_dir", default="runs/emotion")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an older run (of the embedded records: always)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    options = parser.parse_args()
    logging.disable_progress_bar()

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
        overwrite=options.overwrite or (options.data == "sample" and not options.resume),
        num_train_epochs=3,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=1,
        warmup_steps=0.1,
        eval_steps=80,
        save_steps=80,
        logging_steps=10,
        eval_generate_rows=16,
    )

    # 2. The model, or a small one whose vocabulary is trained on the records.
    model = MT5ModelArguments(model=options.model)
    try:
        load_tokenizer(options.model)
    except ModelUnreachable:
        if args.process_index == 0:
            print(f"{options.model} was not reachable: training a small mT5 from random weights instead.")
        model = MT5ModelArguments(model="small", from_scratch=True)
        args.learning_rate, args.num_train_epochs = 3e-3, 10

    # 3. Training: time and disk are told beforehand; the best weights end in final/.
    metrics = run_training(model, data, args)

    # 4. What came out: three summaries, the loss and ROUGE of the validation split.
    if args.process_index == 0:
        print("\n".join(summary_lines(metrics)))
        print(f"model       {args.output_dir}/{FINAL_MODEL}\nrun folder  {args.output_dir}")
    return 0


if __name__ == "__main__":
    sys.exit(one_line_errors("train_emotion_summary.py", main, "start it again"))
