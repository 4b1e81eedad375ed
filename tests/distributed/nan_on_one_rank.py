"""Two ranks, one of which has a loss that is not finite at some steps; writes what each of them ends with."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.models.configuration_kronos import KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import KronosTokenizer
from kronos_ft.training.arguments import KronosTokenizerArguments
from kronos_ft.training.tokenizer_trainer import KronosTokenizerTrainer
from kronos_ft.windows.dataset import WindowDataset, WindowShape


class OneBadRank(KronosTokenizerTrainer):
    """Its last rank has a loss of NaN at the steps of `bad`."""

    bad: tuple[int, ...] = ()

    def _terms(self, model, inputs):
        terms, output = super()._terms(model, inputs)
        now = self.is_in_train and model.training and self.state.global_step + 1 in self.bad
        if now and self.args.process_index == 1:
            terms = replace(terms, per_window=terms.per_window * float("nan"))
        return terms, output


def main(output, *steps):
    args = KronosTokenizerArguments(
        output_dir=f"{output}/run", per_device_train_batch_size=4, max_steps=6, eval_strategy="steps", eval_steps=3,
        save_strategy="steps", save_steps=3, logging_steps=1, expected_world_size=2,
    )  # fmt: skip
    series = load_candles({"SIM": simulate_candles(600, seed=3)})
    shape = WindowShape(lookback=20, horizon=4)
    torch.manual_seed(0)
    model = KronosTokenizer(KronosTokenizerConfig.from_size("tiny"))
    trainer = OneBadRank(model, args, WindowDataset(series, "train", shape), WindowDataset(series, "validation", shape))
    trainer.bad = steps
    error = None
    try:
        trainer.train()
    except ValueError as stopped:
        error = str(stopped)
    weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    found = {"error": error, "finite": bool(weights.isfinite().all()), "sum": float(weights.double().sum())}
    found |= {"steps": trainer.state.global_step, "norm": float(weights.norm())}
    Path(f"{output}/rank{args.process_index}.json").write_text(json.dumps(found))
