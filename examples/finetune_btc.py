"""Fine-tune both halves of Kronos on BTC candles: the tokenizer, then the predictor on its tokens.

    accelerate launch examples/finetune_btc.py [candles.csv]

Without a network it trains the same architectures from random weights, to show that everything works.
"""

import sys
from pathlib import Path

from transformers import set_seed

from kronos_ft import (
    Kronos,
    KronosArguments,
    KronosConfig,
    KronosTokenizer,
    KronosTokenizerArguments,
    KronosTokenizerConfig,
    KronosTokenizerTrainer,
    KronosTrainer,
    TokenWindowDataset,
    WindowDataset,
    WindowShape,
    finish_run,
    load_candles,
    load_sample,
    summary_table,
)

RUN = Path("runs/finetune-demo")
STEPS = {"eval_strategy": "steps", "save_strategy": "steps", "logging_steps": 5, "pct_start": 0.1, "seed": 7}

# 1. Settings of both stages come first: they start the process group when there are several processes.
tokenizer_args = KronosTokenizerArguments(
    output_dir=str(RUN / "tokenizer"),
    overwrite=True,
    learning_rate=1e-4,
    per_device_train_batch_size=16,
    max_steps=40,
    eval_steps=20,
    save_steps=20,
    **STEPS,
)
args = KronosArguments(
    output_dir=str(RUN / "predictor"),
    overwrite=True,
    learning_rate=4e-5,
    per_device_train_batch_size=32,
    max_steps=80,
    eval_steps=40,
    save_steps=40,
    **STEPS,
)

# 2. Candles, and windows of 90 + 10 + 1 bars; one window is left out between the splits.
series = load_candles(sys.argv[1]) if len(sys.argv) > 1 else load_sample()
embargo = WindowShape().length
train = WindowDataset(series, "train", WindowShape(stride=10))
validation = WindowDataset(series, "validation", WindowShape(stride=20), embargo=embargo)
test = WindowDataset(series, "test", WindowShape(stride=20), embargo=embargo)

# 3. The published weights, or the same architectures from random ones.
set_seed(7)
try:
    tokenizer = KronosTokenizer.from_pretrained("NeoQuasar/Kronos-Tokenizer-2k")
    model = Kronos.from_pretrained("NeoQuasar/Kronos-mini")
except ConnectionError:
    if args.process_index == 0:
        print("The published weights were not reachable: training the same architectures (2k, mini) from random ones.")
    tokenizer = KronosTokenizer(KronosTokenizerConfig.from_size("2k"))
    model = Kronos(KronosConfig.from_size("mini"))
    model.config.rotate_sibling = True  # trained on the true coarse token, it forecasts better with it
    tokenizer_args.learning_rate, args.learning_rate = 2e-3, 1e-3

# 4. The tokenizer; its best model makes the tokens.
trainer = KronosTokenizerTrainer(tokenizer, tokenizer_args, train, validation)
trainer.train()
metrics = {"tokenizer": finish_run(trainer, test)}
tokenizer = KronosTokenizer.from_pretrained(RUN / "tokenizer" / "best_model")

# 5. The predictor, on tokens that are made once and kept.
tokens = [TokenWindowDataset(windows, tokenizer, RUN / "tokens") for windows in (train, validation, test)]
trainer = KronosTrainer(model, args, *tokens[:2])
trainer.train()
metrics["predictor"] = finish_run(trainer, tokens[2])

if trainer.is_world_process_zero():
    for stage, figures in metrics.items():
        print(f"\n{stage}\n{summary_table(figures)}")
    print(f"run folder         {RUN}")
