"""Compares the recipes of mT5: does `optimized` keep its promises of time, disk and quality?

    python -m benchmarks.mt5_recipes rates                        the factor of the learning rates, by `original`
    python -m benchmarks.mt5_recipes search [--seeds 11 12]       candidates for `optimized`, on seeds of their own
    python -m benchmarks.mt5_recipes judge [--seeds 1 2 3 4 5]    the presets of the package
    python -m benchmarks.mt5_recipes page                         writes the mT5 tables of docs/recipes.md

Starting weights: a small model with the architecture of mT5 and the vocabulary of the records is trained on fictional
records of ten topics (`benchmarks.fictional_records`). Each recipe fine-tunes it on records of two other topics, which
differ by seed, and is scored on 300 further ones. The weak starting weights have fewer steps than the strong.

Common to all recipes: an evaluation and a checkpoint after each epoch, a warm-up of a twentieth of the steps, no
evaluation before the first step and no summaries before the end, fp32, and a factor of the learning rates, because
small models need higher ones: of those tried, the factor with which `original` scores best. Processor seconds and disk
are those from the first step to the last, with evaluations and checkpoints. Runs that are already in the results are
not repeated.
"""

import argparse
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import torch
from transformers import MT5Config, MT5ForConditionalGeneration, TrainerCallback
from transformers.utils.logging import disable_progress_bar

from benchmarks.comparison import machine
from benchmarks.fictional_records import compose_records, embedded_records, write_records
from benchmarks.mt5_estimate import PeakDisk
from benchmarks.mt5_recipe_tables import RESULT, SEARCH, load, write_page
from ft_core.io.files import write_json
from ft_core.runs.record_schema import git_state, now, versions
from mt5_ft.models.from_scratch import train_tokenizer
from mt5_ft.models.loading import untie
from mt5_ft.runs.cleaning import folder_bytes, keep_within_limit
from mt5_ft.runs.data import read_splits
from mt5_ft.runs.finish import save_final
from mt5_ft.runs.run import build_trainer, prepare
from mt5_ft.runs.start import resolve_model
from mt5_ft.summaries.metrics import score_texts
from mt5_ft.training.arguments import LEARNING_RATES, MT5Arguments, MT5DataArguments, MT5ModelArguments
from mt5_ft.training.presets import PRESETS
from mt5_ft.training.trainer import MT5Trainer

SHAPE = {"d_model": 96, "d_kv": 32, "d_ff": 192, "num_heads": 3, "num_layers": 2, "num_decoder_layers": 2}
PIECES = 5000  # at most; the records give 3,200
START_TOPICS, LATER_TOPICS = 10, 2  # the first by name, and the last: those of the fine-tuning
START_RECORDS, START_SEED = 2000, 1
STARTS = {"weak": 400, "strong": 1000}  # optimizer steps of about 8 records
START_SETTINGS: dict[str, object] = {
    "learning_rate": 3e-3,
    "lr_scheduler_type": "constant_with_warmup",
    "warmup_steps": 50,
    "tokens_per_batch": 2048,
    "target_tokens_per_step": 264,
    "seed": 7,
    "eval_strategy": "no",
    "save_strategy": "no",
    "eval_on_start": False,
    "load_best_model_at_end": False,
}
RECORDS, VALIDATION_RECORDS = 120, 300
LENGTHS = {"max_source_length": 256, "max_target_length": 64}
COMMON: dict[str, object] = {
    "precision": "fp32",
    "use_cpu": True,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "warmup_steps": 0.05,
    "eval_on_start": False,
    "eval_generate_rows": 0,
    "per_device_eval_batch_size": 50,
    "generation_max_length": LENGTHS["max_target_length"],
}
FACTOR = 60.0
FACTORS = (6.0, 20.0, 60.0)
JUDGED = ("original", "optimized", "fast", "best")
_RATE = 5e-5  # of `original`
_TWO_EPOCHS: dict[str, object] = {"preset": "optimized", "num_train_epochs": 2, "per_device_train_batch_size": 2}
_FOUR = _TWO_EPOCHS | {"gradient_accumulation_steps": 2}  # records of a step
_TWO = _TWO_EPOCHS | {"gradient_accumulation_steps": 1}
CANDIDATES: dict[str, dict[str, object]] = {
    "8-adamw-2x": _TWO_EPOCHS | {"gradient_accumulation_steps": 4, "learning_rate": 2 * _RATE},
    "4-adamw-1x": _FOUR | {"learning_rate": _RATE},
    "4-adamw-2x": _FOUR | {"learning_rate": 2 * _RATE},
    "2-adamw-1x": _TWO | {"learning_rate": _RATE},
    "4-muon-1x": _FOUR | {"learning_rate": _RATE, "optimizer": "muon"},
    "4-muon-2x": _FOUR | {"learning_rate": 2 * _RATE, "optimizer": "muon"},
    "4-adafactor-1x": _FOUR | {"learning_rate": _RATE, "optimizer": "adafactor"},
    "4-adamw-1x-ema": _FOUR | {"learning_rate": _RATE, "ema_decay": 0.95},
}


class Clock(TrainerCallback):
    """Processor seconds of this process from the first step to the end of training."""

    seconds = 0.0

    def on_train_begin(self, *args: object, **kwargs: object) -> None:
        self._started = time.process_time()

    def on_train_end(self, *args: object, **kwargs: object) -> None:
        self.seconds = time.process_time() - self._started


def texts_of(record: dict) -> tuple[str, str]:
    """Source and target of a record."""
    source = "\n".join(record["case_description"] + record["consultation_process"])
    return source, record["experience_and_reflection"]


def topics() -> tuple[list[str], list[str]]:
    """Topics of the starting weights, and of the fine-tuning."""
    names = sorted({record["topic"] for record in embedded_records()})
    return names[:START_TOPICS], names[-LATER_TOPICS:]


def records_of(seed: int) -> tuple[list[dict], list[dict]]:
    """Training and validation records of a seed."""
    records = compose_records(RECORDS + VALIDATION_RECORDS, 1000 + seed, topics()[1])
    return records[:RECORDS], records[RECORDS:]


def baselines(records: list[dict]) -> dict[str, float]:
    """ROUGE-L without a model: the beginning of the source, as long as the target; the next summary of the topic."""
    sources, targets = zip(*map(texts_of, records), strict=True)
    leads = [source[: len(target)] for source, target in zip(sources, targets, strict=True)]
    following: list[str] = [""] * len(records)
    latest: dict[str, str] = {}  # of each topic; the second time round, those after the end come first
    for at in reversed([*range(len(records)), *range(len(records))]):
        following[at] = latest.get(records[at]["topic"], "")
        latest[records[at]["topic"]] = targets[at]
    found = {"lead": leads, "same topic": following}
    return {name: score_texts(texts, list(targets), "char")["rougeL"] for name, texts in found.items()}


def make_weights(folder: Path, shape: dict[str, int], records: list[dict]) -> None:
    """Writes random weights with a vocabulary of the records."""
    tokenizer = train_tokenizer(("\n".join(texts_of(record)) for record in records), PIECES)
    torch.manual_seed(0)
    config = MT5Config(vocab_size=-(-len(tokenizer) // 64) * 64, decoder_start_token_id=0, **shape)
    model = untie(MT5ForConditionalGeneration(config))
    with torch.no_grad():  # as for the small model of the package
        model.lm_head.weight.mul_(config.d_model**-0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def trainer_of(model: Path, data: MT5DataArguments, settings: dict[str, object]) -> MT5Trainer:
    """A trainer that starts from the weights of a folder."""
    args = MT5Arguments(**settings)
    start = resolve_model(MT5ModelArguments(model=str(model)), args)
    return build_trainer(prepare(start, data, args, read_splits(data, args.seed)), data, args)


def data_in(folder: Path, train: list[dict], validation: list[dict]) -> MT5DataArguments:
    """Writes both splits; returns the settings that read them."""
    paths = folder / "train.jsonl", folder / "validation.jsonl"
    for path, records in zip(paths, (train, validation), strict=True):
        write_records(path, records)
    return MT5DataArguments(str(paths[0]), str(paths[1]), token_cache="none", **LENGTHS)


def starting_weights(work: Path, steps: int, shape: dict[str, int] | None = None, size: int = START_RECORDS) -> Path:
    """The folder of starting weights of so many steps; trained if it does not exist. Tests use less of everything."""
    made, random, run = work / f"start-{steps}", work / "random", work / f"train-{steps}"
    if (made / "config.json").is_file():
        return made
    if not (random / "config.json").is_file():
        make_weights(random, shape or SHAPE, compose_records(max(size * 6 // 5, 100), 0))
    work.mkdir(parents=True, exist_ok=True)
    data = data_in(work, compose_records(size, START_SEED, topics()[0]), compose_records(60, 5, topics()[1]))
    settings = COMMON | START_SETTINGS | {"output_dir": str(run), "overwrite": True, "max_steps": steps}
    trainer = trainer_of(random, data, settings)
    trainer.train()
    save_final(trainer, MT5ModelArguments(model=str(random)), data).rename(made)
    shutil.rmtree(run)
    return made


def settings_of(recipe: dict[str, object], factor: float) -> dict[str, object]:
    """Training settings of a preset with the changes of a recipe; the learning rate is multiplied by `factor`."""
    known = {field.name for field in fields(MT5Arguments)}
    values = {name: value for name, value in (PRESETS[recipe["preset"]] | recipe).items() if name in known} | COMMON
    rate = values.get("learning_rate") or LEARNING_RATES[values.get("optimizer", "adamw")]
    return values | {"learning_rate": rate * factor}


def train(recipe: dict[str, object], start: Path, seed: int, work: Path, factor: float = FACTOR) -> dict[str, object]:
    """Figures of one run: processor seconds, disk, validation losses, and scores of all validation records.

    Args:
        recipe (`dict`): `preset`, and settings that differ from it.
        start (`Path`): starting weights.
        seed (`int`): of the records and of the training.
        work (`Path`): folder for the run, which is removed afterwards.
        factor (`float`): of the learning rate.
    """
    with tempfile.TemporaryDirectory(dir=work) as name:
        run = Path(name) / "run"
        data = data_in(Path(name), *records_of(seed))
        settings = settings_of(recipe, factor)
        trainer = trainer_of(start, data, settings | {"output_dir": str(run), "seed": seed})
        clock = Clock()
        trainer.add_callback(clock)
        with PeakDisk(run) as disk:
            trainer.train()
        trainer.generate_all_rows = True
        scores = trainer.evaluate(metric_key_prefix="final")
        shutil.rmtree(run / "predictions")
        save_final(trainer, MT5ModelArguments(model=str(start)), data)
        keep_within_limit(run, trainer.args.save_total_limit)
        logged = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
        return {
            "history": [{"step": one["step"], "epoch": one["epoch"], "score": one["eval_loss"]} for one in logged],
            "steps": trainer.state.global_step,
            "cpu_seconds": clock.seconds,
            "disk_at_peak": max(disk.bytes, folder_bytes(run)),
            "disk_at_end": folder_bytes(run),
            "rougeL": scores["final_rougeL"],
            "defective_share": scores["final_defective_share"],
            "summarised": scores["final_summarised_rows"],
            "records": len(trainer.train_dataset),
            "settings": settings,
        }


def keep(path: Path, key: str, figures: dict[str, object]) -> None:
    """Adds a run to the results at once, so that an interrupted benchmark can continue; reads what others added."""
    found = load(path)
    found["runs"][key] = figures
    about = {"written": now(), "machine": machine(), "versions": versions(), "git": git_state(Path(__file__).parent)}
    write_json(path, {**found, **about})
    sys.stderr.write(
        f"{key}: ROUGE-L {figures['rougeL']:.1f}, {figures['cpu_seconds']:.0f} processor s, {figures['steps']} steps\n"
    )


def wanted_runs(what: str, recipes: list[str], starts: list[str], seeds: list[int]) -> dict[str, tuple]:
    """Recipe, start, seed and factor of each run, by its key in the results."""
    if what == "rates":
        return {
            f"rates-{start}/{factor:g}/{seed}": ({"preset": "original"}, start, seed, factor)
            for start in starts
            for seed in seeds
            for factor in FACTORS
        }
    stage = SEARCH if what == "search" else ""
    return {
        f"{stage}{start}/{name}/{seed}": (CANDIDATES.get(name, {"preset": name}), start, seed, FACTOR)
        for seed in seeds
        for start in starts
        for name in recipes
    }


def measure(path: Path, wanted: dict[str, tuple], work: Path, run: Callable[..., dict] = train) -> None:
    """Trains the runs that are not in the results yet."""
    for key, (recipe, start, seed, factor) in wanted.items():
        if key not in load(path)["runs"]:
            keep(path, key, run(recipe, starting_weights(work, STARTS[start]), seed, work, factor))


def main() -> int:
    """Measures, or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("rates", "search", "judge", "page"))
    parser.add_argument("--recipes", nargs="+", help="default: the candidates, or the judged presets")
    parser.add_argument("--starts", nargs="+", choices=tuple(STARTS), default=list(STARTS))
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 11 12 for rates and search, 1 2 3 4 5 for judge")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "mt5-recipes")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    if options.what == "page":
        write_page(load(options.output))
        return 0
    disable_progress_bar()
    logging.getLogger("mt5_ft").setLevel(logging.ERROR)
    recipes = options.recipes or list(JUDGED if options.what == "judge" else ("original", *CANDIDATES))
    seeds = options.seeds or ([1, 2, 3, 4, 5] if options.what == "judge" else [11, 12])
    options.work.mkdir(parents=True, exist_ok=True)
    measure(options.output, wanted_runs(options.what, recipes, options.starts, seeds), options.work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
