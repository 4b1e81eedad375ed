"""How long training takes on a laptop: processor seconds of a step, measured, and of a pass over candles, computed.

    OMP_NUM_THREADS=1 python -m benchmarks.how_long            # about two minutes of processor time
    python -m benchmarks.how_long --table

The probe of `--dry_run` and `--time_budget` measures each size on the embedded candles, with a clock of processor time:
other work on the machine does not change it. Sizes that are too large for a short probe are computed from the largest
measured one, in proportion to the operations of a bar (`benchmarks.cost_model`).
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from benchmarks.comparison import machine
from benchmarks.cost_model import operations_of_a_bar
from ft_core.io.files import write_json
from ft_core.io.formats import read_json
from ft_core.runs.record_schema import versions
from ft_core.training.budget import probe
from kronos_ft import (
    Kronos,
    KronosArguments,
    KronosConfig,
    KronosTokenizer,
    KronosTokenizerArguments,
    KronosTokenizerConfig,
    KronosTokenizerTrainer,
    KronosTrainer,
    WindowDataset,
    WindowShape,
)
from kronos_ft.data.sources import load_sample
from kronos_ft.training.measured import unit_seconds
from kronos_ft.training.presets import STAGE_PRESETS

RESULT = Path(__file__).parent / "results" / "how_long.json"
MEASURED = {"tokenizer": ("tiny", "base"), "predictor": ("tiny", "mini", "small")}
COMPUTED = {"tokenizer": (), "predictor": ("base", "large")}
BARS = (10_000, 35_000, 100_000, 1_000_000)
TRAIN_SHARE, WINDOW = 0.7, 101
RECIPE = STAGE_PRESETS["predictor"]["cpu"]
BATCH, STRIDE = RECIPE["per_device_train_batch_size"], RECIPE["stride"]


def trainer_of(stage: str, size: str, folder: str) -> KronosTrainer | KronosTokenizerTrainer:
    """A trainer of a size from random weights, on the embedded candles."""
    series = load_sample()
    train, validation = (WindowDataset(series, split, WindowShape(stride=STRIDE)) for split in ("train", "validation"))
    shared = {"output_dir": folder, "per_device_train_batch_size": BATCH, "use_cpu": True, "report_to": []}
    tokenizer = KronosTokenizer(KronosTokenizerConfig.from_size("tiny" if size == "tiny" else "base"))
    if stage == "tokenizer":
        return KronosTokenizerTrainer(tokenizer, KronosTokenizerArguments(**shared), train, validation)
    model = Kronos(KronosConfig.from_size(size))
    return KronosTrainer(model, KronosArguments(**shared), train, validation, tokenizer)


def measure() -> dict[str, dict[str, dict[str, float]]]:
    """Processor seconds of each stage and size."""
    probe.clock = time.process_time
    rows: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KRONOS_FT_CACHE"] = folder  # nothing remembered, and nothing to remember
        for stage, sizes in MEASURED.items():
            for size in sizes:
                trainer = trainer_of(stage, size, folder)
                units = unit_seconds(trainer, "tokens" if stage == "predictor" else "")
                rows.setdefault(stage, {})[size] = {
                    "parameters": sum(one.numel() for one in trainer.model.parameters()),
                    "step": units.step,
                    "window_evaluated": units.evaluated,
                    "window_tokenised": units.prepared,
                }
                print(stage, size, rows[stage][size], flush=True)
    return rows


def step_seconds(rows: dict, stage: str) -> dict[str, tuple[float, bool]]:
    """Processor seconds of a step by size, and whether they were measured."""
    found = {size: (row["step"], True) for size, row in rows[stage].items()}
    largest = MEASURED[stage][-1]
    for size in COMPUTED[stage]:
        ratio = operations_of_a_bar(stage, size)[0] / operations_of_a_bar(stage, largest)[0]
        found[size] = (rows[stage][largest]["step"] * ratio, False)
    return found


def _text(seconds: float) -> str:
    """Seconds, minutes or hours with two digits."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.2g} {name}" if seconds < 100 * unit else f"{seconds / unit:,.0f} {name}"
    return f"{seconds:.2g} s"


def table(known: dict) -> list[str]:
    """Markdown: a line for each stage and size: a step, and one pass over candles of several numbers of bars."""
    lines = [
        f"| stage | model | a step | {' | '.join(f'{bars:,} bars' for bars in BARS)} |",
        "|---|---|---|" + "---|" * len(BARS),
    ]
    for stage in MEASURED:
        for size, (seconds, is_measured) in step_seconds(known["rows"], stage).items():
            steps = [int((TRAIN_SHARE * bars - WINDOW) / STRIDE / BATCH) for bars in BARS]
            step = f"{seconds:.2g} s" if is_measured else f"{seconds:.2g} s (computed)"
            lines.append(f"| {stage} | {size} | {step} | {' | '.join(_text(seconds * one) for one in steps)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="print the table of the results that are stored")
    if not parser.parse_args().table:
        write_json(RESULT, {"rows": measure(), "machine": machine(), "versions": versions()})
    print("\n".join(table(read_json(RESULT, "run python -m benchmarks.how_long", dict))))


if __name__ == "__main__":
    main()
