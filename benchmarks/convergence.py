"""Final validation loss of the fast and the exact path: small models, equal numbers of steps, several seeds.

    python -m benchmarks.convergence [--steps 200] [--seeds 1 2 3] [--output benchmarks/results/convergence.json]

The fast runs use all optimisations: bf16 products (emulated if the CPU has none, which is slow but rounds in the same
way), compiled blocks in the tokenizer, cheap dropout masks in the predictor. Exits 1 if the means of fast and exact
runs differ by more than the exact runs differ between seeds.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import torch
from transformers import set_seed

from benchmarks.comparison import RESULTS, Row, print_rows, write_rows
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
    load_sample,
)

EXACT = {"speed": "exact"}
FAST = {"speed": "auto", "products": "bf16"}
COMPILED = {"tokenizer": "yes", "predictor": "no"}
DROPOUT = 0.1
BATCH = 16


def final_loss(stage: str, seed: int, steps: int, how: dict[str, str]) -> float:
    """The validation term that selects the best checkpoint, after the last step."""
    series = load_sample()
    train, validation = WindowDataset(series, "train"), WindowDataset(series, "validation")
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "output_dir": folder,
            "per_device_train_batch_size": BATCH,
            "max_steps": steps,
            "eval_strategy": "steps",
            "eval_steps": steps,
            "eval_on_start": False,
            "save_strategy": "no",
            "load_best_model_at_end": False,
            "logging_steps": steps,
            "learning_rate": 1e-3,
            "seed": seed,
            "use_cpu": True,
            **how,
        }
        set_seed(seed)
        if stage == "tokenizer":
            model = KronosTokenizer(KronosTokenizerConfig.from_size("tiny"))
            trainer = KronosTokenizerTrainer(model, KronosTokenizerArguments(**settings), train, validation)
            term = "eval_recon_all"
        else:
            torch.manual_seed(0)
            tokenizer = KronosTokenizer(KronosTokenizerConfig.from_size("tiny"))
            set_seed(seed)
            config = KronosConfig.from_size("tiny")
            config.update({f"{name}_dropout_p": DROPOUT for name in ("ffn", "attn", "resid", "token")})
            model = Kronos(config)
            tokens = [TokenWindowDataset(windows, tokenizer) for windows in (train, validation)]
            trainer = KronosTrainer(model, KronosArguments(**settings), *tokens)
            term = "eval_loss"
        trainer.train()
        return next(entry[term] for entry in reversed(trainer.state.log_history) if term in entry)


def compare(stage: str, seeds: list[int], steps: int) -> Row:
    """A row: mean loss of the exact runs divided by that of the fast runs."""
    exact = [final_loss(stage, seed, steps, EXACT) for seed in seeds]
    fast = [final_loss(stage, seed, steps, FAST | {"compile_blocks": COMPILED[stage]}) for seed in seeds]
    spread = max(exact) - min(exact)
    mean = statistics.mean(fast)
    return Row(
        f"{stage}, tiny: validation loss after {steps} steps, {len(seeds)} seeds",
        "speed exact",
        None,
        ratio=statistics.mean(exact) / mean,
        unit="loss",
        reference_value=statistics.mean(exact),
        our_value=mean,
        correct=abs(mean - statistics.mean(exact)) <= spread,
        details={"exact": exact, "fast": fast, "spread_of_exact": spread},
    )


def main() -> int:
    """Trains and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--output", type=Path, default=RESULTS / "convergence.json")
    options = parser.parse_args()
    found = [compare(stage, options.seeds, options.steps) for stage in ("tokenizer", "predictor")]
    write_rows(options.output, found)
    print_rows(found)
    return 1 if any(row.correct is False for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
