"""Fine-tune mT5 on emotion summaries: the embedded fictional records, or a JSONL of your own.

    python examples/train_emotion_summary.py [records.jsonl] [model]
    accelerate launch --config_file examples/accelerate/cpu_2.yaml examples/train_emotion_summary.py

When the model cannot be reached it trains a small mT5 from random weights, to show that everything works.
"""

import sys
from pathlib import Path

from accelerate import PartialState
from transformers.utils import logging

from mt5_ft.data.records import EMOTION_SUMMARY, read_records
from mt5_ft.models.loading import load_model, small_model, train_tokenizer
from mt5_ft.training.arguments import MT5Arguments, MT5DataArguments, MT5ModelArguments
from mt5_ft.training.run import run_training, sample_path
from mt5_ft.training.summary import summary_lines

logging.disable_progress_bar()

# 1. Records: the embedded sample of fictional cases, or your own file.
path = Path(sys.argv[1]) if len(sys.argv) > 1 else sample_path()
name = sys.argv[2] if len(sys.argv) > 2 else "google/mt5-base"
args = MT5Arguments(
    output_dir="runs/emotion",
    overwrite=True,
    num_train_epochs=3,
    per_device_train_batch_size=8,
    gradient_accumulation_steps=1,
    warmup_steps=0.1,
    eval_steps=80,
    save_steps=80,
    logging_steps=10,
    eval_generate_rows=16,
    generation_max_length=128,
)

# 2. The model, or a small one whose vocabulary is trained on the records.
try:
    load_model(name)
except ConnectionError:
    print(f"{name} was not reachable: training a small mT5 from random weights, with a vocabulary of these records.")
    records, _ = read_records(path, EMOTION_SUMMARY)
    name = "runs/emotion-start"
    with PartialState().local_main_process_first():
        if PartialState().is_local_main_process:
            tokenizer = train_tokenizer([f"{record.source}\n{record.target}" for record in records])
            tokenizer.save_pretrained(name)
            small_model(len(tokenizer)).save_pretrained(name)
    args.learning_rate, args.num_train_epochs = 3e-3, 10

# 3. Training: time and disk are told beforehand; the best weights end in final/.
data = MT5DataArguments(data=str(path), max_source_length=192, max_target_length=128)
metrics = run_training(MT5ModelArguments(model=name), data, args)

# 4. What came out: three summaries, the loss and ROUGE of the validation split.
if args.process_index == 0:
    print("\n".join(summary_lines(metrics)))
    print(f"model       {args.output_dir}/final\nrun folder  {args.output_dir}")
