"""Run by every process of `test_predictor_two_ranks.py`: trains a few steps and writes what this process saw."""

import json
from pathlib import Path

import torch
from transformers import TrainerCallback

from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer
from kronos_ft.models.modeling_quantiles import KronosForQuantiles, KronosQuantilesConfig
from kronos_ft.runs.finish import finish_run
from kronos_ft.training.predictor_arguments import KronosArguments
from kronos_ft.training.predictor_trainer import KronosTrainer
from kronos_ft.training.quantile_arguments import KronosQuantileArguments
from kronos_ft.training.quantile_trainer import KronosQuantileTrainer
from kronos_ft.windows.dataset import WindowDataset, WindowShape
from kronos_ft.windows.quantile_windows import CONTEXT_FEATURES, QuantileWindowDataset
from kronos_ft.windows.tokens import TokenWindowDataset


class Gradients(TrainerCallback):
    """Keeps some of each parameter's gradient at the first optimizer step."""

    def __init__(self):
        self.first = None

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if self.first is None:
            trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
            self.first = {name: p.grad.flatten()[:5].tolist() for name, p in trained}


def main(output, batch, steps, conditioning, resume=False):
    """Trains a predictor, or with `conditioning` "quantiles" a quantile head and its body."""
    is_head = conditioning == "quantiles"
    settings = {} if is_head else {"s1_conditioning": conditioning}
    args = (KronosQuantileArguments if is_head else KronosArguments)(
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
        **settings,
        symbol_weighting="even",
        use_cpu=True,
        resume=resume,
    )
    series = load_candles({"A": simulate_candles(700, seed=3), "B": simulate_candles(200, seed=4)})
    torch.manual_seed(0)
    tokenizer = KronosTokenizer(KronosTokenizerConfig.from_size("tiny"))
    predictor = Kronos(KronosConfig.from_size("tiny"))
    cache = Path(output).parent / "cache"
    kind = QuantileWindowDataset if is_head else TokenWindowDataset
    train, validation = (
        kind(WindowDataset(series, split, WindowShape(20, 4, stride=stride)), tokenizer, cache)
        for split, stride in (("train", 4), ("validation", 5))
    )
    gradients = Gradients()
    if is_head:
        config = KronosQuantilesConfig.on_body(
            predictor.config, horizon=4, lookback=20, num_features=len(CONTEXT_FEATURES), head_dropout_p=0.0
        )
        head = KronosForQuantiles.on_body(predictor, config)
        head.train_body(True)
        head.fit_cone(*train.outcomes(range(len(train))))
        trainer = KronosQuantileTrainer(head, args, train, validation, callbacks=[gradients])
    else:
        trainer = KronosTrainer(predictor, args, train, validation, callbacks=[gradients])
    trainer.train()
    finish_run(trainer)
    Path(f"{output}-rank{args.process_index}.json").write_text(
        json.dumps(
            {
                "world_size": args.world_size,
                "validation_windows": len(validation),
                "tokens": int(train.s1.long().sum()),
                "history": trainer.state.log_history,
                "gradients": gradients.first,
                "weights": [p.flatten()[:5].tolist() for p in trainer.model.parameters()],
            }
        )
    )
