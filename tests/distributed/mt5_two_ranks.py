"""Run by every process of `test_mt5_two_ranks.py`: trains a tiny mT5 and writes what this process saw as JSON."""

import json
from pathlib import Path

import torch
from transformers import TrainerCallback

from mt5_ft.data.preprocessing import tokenize_records
from mt5_ft.data.records import EMOTION_SUMMARY, read_records
from mt5_ft.models.loading import load_model, load_tokenizer
from mt5_ft.runs.data import sample_path
from mt5_ft.training.arguments import MT5Arguments
from mt5_ft.training.trainer import MT5Trainer


class Gradients(TrainerCallback):
    """Keeps some of each parameter's gradient at each optimizer step."""

    def __init__(self):
        self.steps = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.steps.append({name: p.grad.flatten()[:5].tolist() for name, p in model.named_parameters()})


class Watched(MT5Trainer):
    """Keeps the rows of each micro-batch of each step."""

    def get_batch_samples(self, *args, **kwargs):
        batches, tokens = super().get_batch_samples(*args, **kwargs)
        self.rows = [*getattr(self, "rows", []), [batch["row"].tolist() for batch in self._batches]]
        return batches, tokens


def main(output, batch, accumulation, start, budget=0):
    records = read_records(sample_path(), EMOTION_SUMMARY)[0][:40]
    tokenizer = load_tokenizer(start)
    tokens, _ = tokenize_records(records, tokenizer, max_source_length=48, max_target_length=32)
    args = MT5Arguments(
        output_dir=output,
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=3,
        gradient_accumulation_steps=accumulation,
        max_steps=4,
        eval_steps=2,
        save_steps=2,
        logging_steps=1,
        warmup_steps=0,
        learning_rate=1e-3,
        max_grad_norm=1e6,
        precision="fp32",
        train_sampling_strategy="group_by_length" if budget else "sequential",
        tokens_per_batch=budget,
        target_tokens_per_step=250 if budget else 0,
        generation_max_length=10,
        use_cpu=True,
    )
    torch.manual_seed(0)
    train, validation = tokens.select(range(32)), tokens.select(range(32, 39))
    gradients = Gradients()
    trainer = Watched(load_model(start), args, tokenizer, train, validation, records[32:39], callbacks=[gradients])
    trainer.train()
    Path(f"{output}-rank{args.process_index}.json").write_text(
        json.dumps(
            {
                "world_size": args.world_size,
                "history": trainer.state.log_history,
                "gradients": gradients.steps,
                "rows": trainer.rows,
                "steps_per_epoch": trainer.steps_per_epoch(),
                "weights": [p.flatten()[:5].tolist() for p in trainer.model.parameters()],
            }
        )
    )
