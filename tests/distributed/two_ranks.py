"""Run by every process of `test_two_ranks.py`: trains a few steps and writes what this process saw as JSON."""

import json
from pathlib import Path

import torch
from transformers import TrainerCallback

from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.models.configuration_kronos import KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import KronosTokenizer
from kronos_ft.runs.finish import finish_run
from kronos_ft.training.arguments import KronosTokenizerArguments
from kronos_ft.training.tokenizer_trainer import KronosTokenizerTrainer
from kronos_ft.windows.dataset import WindowDataset, WindowShape


class Gradients(TrainerCallback):
    """Keeps the norm of each parameter's gradient at the first optimizer step, before clipping is applied again."""

    def __init__(self):
        self.first = None

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if self.first is None:
            self.first = {name: p.grad.flatten()[:5].tolist() for name, p in model.named_parameters()}


def main(output, batch, zeta, steps, resume=False, settings=None):
    series = load_candles({"SIM": simulate_candles(900, seed=3)})
    train = WindowDataset(series, "train", WindowShape(20, 4, stride=4))
    validation = WindowDataset(series, "validation", WindowShape(20, 4, stride=5))
    torch.manual_seed(0)
    values = {**KronosTokenizerConfig.from_size("tiny").to_dict(), "zeta": zeta}
    args = KronosTokenizerArguments(
        output_dir=output,
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=3,
        max_steps=steps,
        eval_strategy="steps",
        eval_steps=3,
        save_strategy="steps",
        save_steps=3,
        logging_steps=1,
        learning_rate=1e-3,
        max_grad_norm=1e6,
        use_cpu=True,
        resume=resume,
        **(settings or {}),
    )
    gradients = Gradients()
    trainer = KronosTokenizerTrainer(
        KronosTokenizer(KronosTokenizerConfig(**values)), args, train, validation, callbacks=[gradients]
    )
    trainer.train()
    finish_run(trainer)
    Path(f"{output}-rank{args.process_index}.json").write_text(
        json.dumps(
            {
                "world_size": args.world_size,
                "validation_windows": len(validation),
                "history": trainer.state.log_history,
                "gradients": gradients.first,
                "weights": [p.flatten()[:5].tolist() for p in trainer.model.parameters()],
            }
        )
    )
