"""Five tokenizer runs on the embedded candles, one healthy and four with deliberate faults, and their reports.

    python -m benchmarks.sick_runs [FOLDER]

The faulty runs use the public Python API: a learning rate that is 1,000 times too high; windows of raw prices;
validation data inside the training data; early stopping with an unreachable minimum gain. Each report is written in
both languages, into `report-en/` and `report-zh/` of its run.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from transformers import set_seed

from ft_core.report.answers import PROBLEM
from ft_core.report.write import Report, write_report
from kronos_ft import (
    KronosTokenizer,
    KronosTokenizerArguments,
    KronosTokenizerConfig,
    KronosTokenizerTrainer,
    WindowDataset,
    WindowShape,
    finish_run,
    load_sample,
)
from kronos_ft.report.views import VIEWS

STEPS = 240
SHAPE = WindowShape(lookback=40, horizon=8, stride=4)
HELD_OUT = WindowShape(lookback=40, horizon=8, stride=16)


class RawPrices(WindowDataset):
    """Windows without normalisation, as a user's data set might return them."""

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        batch = super().__getitems__(indices)
        starts = self._places.starts(batch["window"].numpy())
        raw = torch.from_numpy(self._gather(self._values, starts)).float()
        return batch | {"candles": raw, "target": raw}


def _splits(kind: type[WindowDataset] = WindowDataset, **validation: object) -> tuple[WindowDataset, WindowDataset]:
    series = load_sample()
    settings = {"embargo": HELD_OUT.length, **validation}
    return kind(series, "train", SHAPE), kind(series, "validation", HELD_OUT, **settings)


# name: settings that differ from the healthy run, windows, and the rule that must find the fault
RUNS: dict[str, tuple[dict[str, object], Callable[[], tuple[WindowDataset, WindowDataset]], str | None]] = {
    "healthy": ({}, _splits, None),
    "rate-too-high": ({"learning_rate": 2.0, "max_grad_norm": 0.0}, _splits, "learning-rate"),
    "no-scaling": ({}, lambda: _splits(RawPrices), "scaling"),
    "leaking-split": ({}, lambda: _splits(ratios=(0.4, 0.4, 0.2)), "leakage"),
    "stopped-early": (
        {"early_stopping": True, "early_stopping_patience": 1, "early_stopping_min_delta": 1.0},
        _splits,
        "early-stopping",
    ),
}


def train_one(name: str, folder: Path) -> Path:
    """Trains one of the runs and returns its folder."""
    settings, splits, _ = RUNS[name]
    train, validation = splits()
    set_seed(7)
    values = {
        "output_dir": str(folder / name),
        "overwrite": True,
        "learning_rate": 2e-3,
        "per_device_train_batch_size": 16,
        "max_steps": STEPS,
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "eval_steps": STEPS // 8,
        "save_steps": STEPS // 8,
        "logging_steps": 5,
        "pct_start": 0.1,
        "seed": 7,
        **settings,
    }
    model = KronosTokenizer(KronosTokenizerConfig.from_size("tiny"))
    trainer = KronosTokenizerTrainer(model, KronosTokenizerArguments(**values), train, validation)
    try:
        trainer.train()
        finish_run(trainer)
    except ValueError as error:  # as of a diverged run, which is ended
        print(f"{name}: {error}")
    return folder / name


def report_one(run: Path) -> Report:
    """Writes the report of a run in both languages; the English one is returned."""
    write_report(run, VIEWS, "zh", run / "report-zh")
    return write_report(run, VIEWS, "en", run / "report-en")


def main(folder: Path) -> int:
    """Trains and reports all runs; returns 1 if a fault was missed, or the healthy run was reported as faulty."""
    missed = 0
    for name, (_, _, rule) in RUNS.items():
        report = report_one(train_one(name, folder))
        problems = {finding.rule.id: finding for finding in report.findings if finding.verdict == PROBLEM}
        found = not problems if rule is None else rule in problems
        missed += not found
        print(f"{name:15} {'as meant' if found else 'NOT AS MEANT'}; problems: {', '.join(problems) or 'none'}")
        if rule in problems:
            print(f"{'':15} {problems[rule].figure('en')}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/sick")))
