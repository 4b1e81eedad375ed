"""Run folders as a training run writes them, made in a moment; a test changes what it is about."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

from ft_core.report.facts import RunFacts, read_run
from ft_core.report.rules.schedule import expected_rate
from ft_core.report.views import StageView

STEPS, EVERY, EVALUATIONS = 200, 5, 25


def _falling(step: int, start: float, end: float) -> float:
    """A curve from start towards end, with a small ripple."""
    return (end + (start - end) * math.exp(-8 * step / STEPS)) * (1 + 0.02 * math.sin(step))


@dataclass
class WrittenRun:
    """What lies in a run's folder, to be changed before it is written.

    Attributes:
        record (`dict`): `run.json`.
        entries (`list`): lines of `metrics.jsonl`.
        files (`dict`): further files by name: JSON, or text as it is.
        checkpoints (`list`): steps of whole checkpoints.
    """

    record: dict
    entries: list[dict]
    files: dict[str, object] = field(default_factory=dict)
    checkpoints: list[int] = field(default_factory=lambda: [150, STEPS])
    has_model: bool = True

    @property
    def arguments(self) -> dict:
        return self.record["arguments"]

    @property
    def observed(self) -> dict:
        return self.record["observed"]

    def training(self, name: str, value) -> None:
        """Sets a term of training entries to a value, or to what a function makes of step and old value."""
        for entry in self.entries:
            if "learning_rate" in entry:
                entry[name] = value(entry["step"], entry.get(name)) if callable(value) else value

    def evaluated(self, name: str, value) -> None:
        """As `training`, of evaluations; the name without `eval_`."""
        for entry in self.entries:
            if "eval_loss" in entry:
                entry[f"eval_{name}"] = (
                    value(entry["step"], entry.get(f"eval_{name}")) if callable(value) else value
                )  # fmt: skip

    def end_at(self, step: int, status: str) -> None:
        """Cuts the run off after a step."""
        self.entries = [e for e in self.entries if e["step"] <= step and "train_runtime" not in e]
        self.record |= {"status": status, "global_step": step, "seconds": 0.5 * step, "best_step": None}
        self.checkpoints = [s for s in self.checkpoints if s <= step]
        self.has_model = False

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        if self.record:
            (folder / "run.json").write_text(json.dumps(self.record), encoding="utf-8")
        if self.entries:
            lines = "".join(json.dumps(entry) + "\n" for entry in self.entries)
            (folder / "metrics.jsonl").write_text(lines, encoding="utf-8")
        for name, content in self.files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name).write_text(text, encoding="utf-8")
        for step in self.checkpoints:
            write_checkpoint(folder / f"checkpoint-{step}")
        if self.has_model:
            (folder / "best_model").mkdir()
            (folder / "best_model" / "config.json").write_text("{}", encoding="utf-8")
        return folder

    def facts(self, folder: Path, views: tuple[StageView, ...]) -> RunFacts:
        return read_run(self.write(folder), views)


def write_checkpoint(folder: Path) -> None:
    """A folder that its manifest calls whole."""
    from ft_core.checkpoints.manifest import write_manifest

    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text("weights", encoding="utf-8")
    write_manifest(folder, {})


def _arguments(**own) -> dict:
    return {
        "learning_rate": 1e-4,
        "max_steps": STEPS,
        "num_train_epochs": 30.0,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
        "weight_decay": 0.1,
        "adam_beta1": 0.9,
        "optim": "adamw_torch_fused",
        "max_grad_norm": 2.0,
        "gradient_accumulation_steps": 1,
        "bf16": False,
        "fp16": False,
        "seed": 42,
        "eval_strategy": "steps",
        "eval_steps": EVALUATIONS,
        "save_strategy": "steps",
        "save_steps": EVALUATIONS,
        "early_stopping": False,
        "early_stopping_patience": 5,
        "early_stopping_min_delta": 1e-5,
        "greater_is_better": False,
        **own,
    }


def _record(stage: str, arguments: dict, **further) -> dict:
    return {
        "status": "finished",
        "started": "2026-01-01T00:00:00+00:00",
        "written": "2026-01-01T00:02:00+00:00",
        "seconds": 100.0,
        "global_step": STEPS,
        "max_steps": STEPS,
        "epoch": 2.0,
        "best_step": STEPS,
        "world_size": 1,
        "hardware": {"device": "cpu"},
        "versions": {"torch": "2.13.0"},
        "stage": stage,
        "arguments": arguments,
        **further,
    }


def _entries(primary: str, terms: dict, evaluated: dict, arguments: dict, start: float, end: float) -> list[dict]:
    """Log entries whose main quantity falls; terms and evaluated terms are the same throughout."""
    entries: list[dict] = []
    for step in range(0, STEPS + 1, EVERY):
        if step:
            entry = {"loss": 0.2, "grad_norm": 1.0 + 0.05 * math.sin(step), "weight_norm": 90.0, **terms}
            entry |= {"learning_rate": expected_rate(arguments, step - 1, STEPS), "epoch": 2 * step / STEPS}
            entries.append(entry | {primary: _falling(step, start, end), "step": step})
        if step % EVALUATIONS == 0:
            entry = {"eval_loss": 0.2, **{f"eval_{name}": value for name, value in evaluated.items()}}
            entries.append(entry | {f"eval_{primary}": 1.02 * _falling(step, start, end), "step": step})
    entries.append({"train_runtime": 100.0, "train_loss": 0.2, "epoch": 2.0, "step": STEPS})
    return entries


def tokenizer_run() -> WrittenRun:
    """A healthy run of the tokenizer."""
    arguments = _arguments(
        one_cycle=True, pct_start=0.1, div_factor=10.0, final_div_factor=1e4, cycle_momentum=False,
        metric_for_best_model="eval_recon_all", numerics="fp32",
    )  # fmt: skip
    codes = {"code_usage_s1": 0.3, "code_perplexity_s1": 120.0, "code_usage_s2": 0.3, "code_perplexity_s2": 90.0}
    inputs = {
        "windows": 256, "mean": 0.01, "std": 1.1, "largest": 5.0, "clipped_share": 0.002, "lookback_offset": 1e-6,
        "window_offset": 0.2, "mean_square": 1.2,
    }  # fmt: skip
    spans = {"train": ["2020-01-01T00:00:00", "2020-09-01T00:00:00"]}
    spans["validation"] = ["2020-09-06T00:00:00", "2020-11-01T00:00:00"]
    splits = {
        name: {"windows": windows, "bars": bars, "across_gaps": 0, "spans": {"BTC": spans[name]}, "inputs": inputs}
        for name, windows, bars in (("train", 5000, 5800), ("validation", 130, 1300))
    }
    observed = {
        "stage": "tokenizer", "parameters": 22160, "trainable": 22160, "steps_per_epoch": 100, "effective_batch": 50,
        "train_samples": 5000, "validation_samples": 130, "shared_share": 0.0,
        "candles": {"rows": 9000, "defects": {}, "missing_bars": 0, "markets": ["continuous"]},
        "shape": {"lookback": 90, "horizon": 10, "stride": 1, "clip": 5.0},
        "config": {"s1_bits": 10, "s2_bits": 10, "resid_dropout_p": 0.1}, **splits,
    }  # fmt: skip
    record = _record(
        "tokenizer",
        arguments,
        observed=observed,
        model={"model": "base", "from_scratch": False, "preset": "baseline"},
        data={
            "data": "btc.csv", "policy": "error", "stride": 1, "validation_stride": 10, "clip": 5.0, "embargo": 101,
            "split_ratios": [0.7, 0.15, 0.15], "split_dates": None, "fingerprint": "f",
        },
        augmentation={"augment_noise": False, "augment_scale": False},
    )  # fmt: skip
    terms = {"recon_pre": 0.3, "bsq": -0.06, "bars_per_second": 1000.0, **codes}
    return WrittenRun(
        record, _entries("recon_all", terms, {"recon_pre": 0.3, "bsq": -0.06, **codes}, arguments, 0.9, 0.1)
    )


def predictor_run() -> WrittenRun:
    """A healthy run of the predictor, on the same windows."""
    run = tokenizer_run()
    run.record["stage"] = run.observed["stage"] = "predictor"
    run.arguments.update(metric_for_best_model="eval_loss", s1_conditioning="true", lora=False, max_grad_norm=3.0)
    run.observed["token_entropy"] = {"s1": 4.0, "s2": 4.5}
    terms = {"ce_s1": 2.5, "ce_s2": 2.7}
    run.entries = _entries("loss", {**terms, "bars_per_second": 900.0}, terms, run.arguments, 3.4, 2.6)
    return run


def mt5_run() -> WrittenRun:
    """A healthy run of mT5."""
    arguments = _arguments(
        metric_for_best_model="eval_loss", precision="fp32", max_grad_norm=2.0, warmup_steps=20,
        num_train_epochs=3.0,
    )  # fmt: skip
    record = _record(
        "mt5",
        arguments,
        model={"model": "google/mt5-small", "preset": "fast", "from_scratch": False, "trim_vocab": True,
               "trim_extra": 1000, "lora": False},
        data={"data": "cases.jsonl", "validation_share": 0.1, "max_source_length": 256, "max_target_length": 256},
        lengths={"source_mean": 120.0, "target_mean": 60.0, "source_cut": 0.01, "target_cut": 0.0, "source_most": 200,
                 "target_most": 100},
        vocabulary={"before": 250112, "after": 20480, "coverage": 0.9999, "unseen_growth": 0.02},
        shared_sources=0,
        observed={"stage": "mt5", "parameters": 300_000, "trainable": 300_000, "steps_per_epoch": 50,
                  "effective_batch": 20, "train_samples": 1000, "validation_samples": 100},
    )  # fmt: skip
    written = {"token_accuracy": 0.5, "rougeL": 35.0, "empty_share": 0.0, "repeated_share": 0.0, "sentinel_share": 0.0}
    written["identical_share"] = 0.0
    terms = {"token_accuracy": 0.5, "target_tokens_per_second": 800.0}
    entries = _entries("loss", terms, {**written, "length_ratio": 0.95}, arguments, 4.0, 2.0)
    return WrittenRun(record, entries)
