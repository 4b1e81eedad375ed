"""Fine-tune the Kronos tokenizer on BTC candles, from the embedded sample or your CSV file.

    accelerate launch examples/train_btc.py [candles.csv]

Without a network it trains the same architecture from random weights, to show that everything works.
"""

import sys

from transformers import set_seed

from kronos_ft import (
    KronosTokenizer,
    KronosTokenizerArguments,
    KronosTokenizerConfig,
    KronosTokenizerTrainer,
    WindowDataset,
    WindowShape,
    finish_run,
    load_candles,
    load_sample,
    summary_table,
)

# 1. Candles: checked, sorted, in UTC. A CSV's columns are found by meaning.
series = load_candles(sys.argv[1]) if len(sys.argv) > 1 else load_sample()

# 2. Windows of 90 + 10 + 1 bars, split in time; each is scaled by its first 90 bars alone.
train = WindowDataset(series, "train")
validation = WindowDataset(series, "validation", WindowShape(stride=20))
test = WindowDataset(series, "test", WindowShape(stride=20))

# 3. The published weights, or the same architecture from random ones.
set_seed(7)
try:
    model = KronosTokenizer.from_pretrained("NeoQuasar/Kronos-Tokenizer-base")
    learning_rate = 1e-4
except ConnectionError:
    print("Cannot download the published weights: training the same architecture (base) from random weights.")
    model = KronosTokenizer(KronosTokenizerConfig.from_size("base"))
    learning_rate = 2e-3

# 4. Training: one-cycle schedule, an evaluation and a checkpoint every 20 steps, the best three kept.
args = KronosTokenizerArguments(
    output_dir="runs/demo",
    overwrite=True,
    learning_rate=learning_rate,
    per_device_train_batch_size=16,
    max_steps=80,
    pct_start=0.1,
    eval_strategy="steps",
    eval_steps=20,
    save_strategy="steps",
    save_steps=20,
    logging_steps=5,
    seed=7,
)
trainer = KronosTokenizerTrainer(model, args, train, validation)
trainer.train()

# 5. The best model's folder, the figures and the picture; the test windows took no part in any choice.
metrics = finish_run(trainer, test, title="Kronos tokenizer on BTC/USD, 30-minute candles")
if trainer.is_world_process_zero():
    print(summary_table(metrics))
    print(f"curves             {args.output_dir}/loss_curves.png")
    print(f"run folder         {args.output_dir}")
