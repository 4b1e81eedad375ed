"""A whole mT5 run: settings in, run folder out. The command line and the example both end here."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from accelerate import PartialState
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed
from transformers.utils import logging

from ft_core.curves import Panel, plot_curves
from ft_core.files import write_folder, write_json
from ft_core.launch import check_world_size
from ft_core.run_folder import CURVES_FILE, FINAL_MODEL, METRICS_FILE, RUN_FILE, check_output_folder

from ..data.preprocessing import TokenLengths, tokenize_records
from ..data.records import Record, TaskFields, read_records
from ..models.loading import keep_feed_forward_in_fp32, load_model, load_tokenizer
from ..resources import Plan, make_plan
from .arguments import MT5Arguments, MT5DataArguments, MT5ModelArguments
from .out_of_memory import FIRST_STEPS, free_memory, is_out_of_memory, smaller_batch
from .trainer import MT5Trainer

TASK_FILE = "task.json"
CUT_WARNING = 0.05
PANELS = (
    Panel("cross-entropy a target token, nats", ("loss",)),
    Panel("target tokens right", ("token_accuracy",)),
    Panel("learning rate", ("learning_rate",)),
    Panel("gradient norm", ("grad_norm",), log_scale=True),
)


@dataclass
class Prepared:
    """Everything a run starts from."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    fields: TaskFields
    train: list[Record]
    validation: list[Record]
    lengths: TokenLengths


def sample_path() -> Path:
    """The embedded sample of fictional counselling records."""
    with as_file(files("mt5_ft.data") / "sample" / "emotion_summary.jsonl") as path:
        return path


def read_splits(data: MT5DataArguments, seed: int, say: Callable[[str], None]) -> tuple[list[Record], list[Record]]:
    """Training and validation records: from two files, or one file split by a seeded permutation.

    Raises:
        ValueError: no data named, records that cannot be used, or nothing left to validate on.
    """
    if not data.data:
        raise ValueError("data is not set; pass --data FILE.jsonl, or --data sample for the embedded records")
    fields = data.fields()
    path = sample_path() if data.data == "sample" else Path(data.data)
    records, report = read_records(path, fields, data.policy)
    for line in report.lines() if report.defects else ():
        say(line)
    if data.validation_data:
        validation, _ = read_records(Path(data.validation_data), fields, data.policy)
        return records, validation
    if not 0 < data.validation_share < 1:
        raise ValueError(f"validation_share={data.validation_share} is outside (0, 1); choose e.g. 0.1")
    held_out = max(1, round(len(records) * data.validation_share))
    if held_out >= len(records):
        raise ValueError(f"{path} has {len(records)} records, too few to hold {held_out} out; add records")
    order = np.random.default_rng(seed).permutation(len(records))
    chosen = set(order[:held_out].tolist())
    return (
        [record for position, record in enumerate(records) if position not in chosen],
        [record for position, record in enumerate(records) if position in chosen],
    )


def _with_adapters(model: PreTrainedModel, settings: MT5ModelArguments) -> PreTrainedModel:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="SEQ_2_SEQ_LM",
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=["q", "v"],
    )
    return get_peft_model(model, config)


def start_model(settings: MT5ModelArguments, args: MT5Arguments, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The model to train: loaded, guarded for fp16, with adapters where asked."""
    set_seed(args.seed)
    model = load_model(settings.model, tokenizer)
    if args.fp16:
        keep_feed_forward_in_fp32(model)
    return _with_adapters(model, settings) if settings.lora else model


def build_trainer(
    model: MT5ModelArguments, data: MT5DataArguments, args: MT5Arguments, say: Callable[[str], None]
) -> tuple[MT5Trainer, Prepared]:
    """Reads the records, tokenises them, loads the model, and puts all into a trainer.

    Raises:
        ValueError: data, settings or model that cannot be used.
        ModelUnreachable: the Hub cannot be reached.
    """
    if args.disable_tqdm:
        logging.disable_progress_bar()  # one for each file that is loaded or saved
    train, validation = read_splits(data, args.seed, say)
    tokenizer = load_tokenizer(model.model)
    limits = {"max_source_length": data.max_source_length, "max_target_length": data.max_target_length}
    with PartialState().main_process_first():
        train_tokens, lengths = tokenize_records(train, tokenizer, prefix=data.prefix, **limits)
        validation_tokens, _ = tokenize_records(validation, tokenizer, prefix=data.prefix, **limits)
    network = start_model(model, args, tokenizer)
    try:
        trainer = MT5Trainer(network, args, tokenizer, train_tokens, validation_tokens, validation, data.prefix)
    except (ImportError, RuntimeError) as error:  # an optional package that a setting such as report_to needs
        raise ValueError(" ".join(str(error).split())) from error
    trainer.mean_length = int(lengths.source_mean + lengths.target_mean)
    trainer.recorder.facts = {"stage": "mt5", "model": vars(model), "data": vars(data)}
    prepared = Prepared(network, tokenizer, data.fields(), train, validation, lengths)
    return trainer, prepared


def describe(trainer: MT5Trainer, prepared: Prepared, data: MT5DataArguments) -> list[str]:
    """Lines on data and lengths, with a warning where the limits cut off too much."""
    lines = [
        f"records     {len(prepared.train):,} to train on, {len(prepared.validation):,} to validate on",
        f"lengths     {prepared.lengths.line(data.max_source_length, data.max_target_length)}",
        f"precision   {trainer.args.precision} on {trainer.args.device.type}",
    ]
    for name, share in (("source", prepared.lengths.source_cut), ("target", prepared.lengths.target_cut)):
        if share > CUT_WARNING:
            lines.append(f"WARNING     {share:.0%} of the {name}s are cut off; raise max_{name}_length")
    return lines


def plan_run(
    model: MT5ModelArguments, data: MT5DataArguments, args: MT5Arguments, say: Callable[[str], None] = print
) -> Plan:
    """What a run would need; writes nothing into its folder."""
    created = not Path(args.output_dir).exists()
    trainer, prepared = build_trainer(model, data, args, say)
    for line in describe(trainer, prepared, data):
        say(line)
    plan = make_plan(trainer, model.preset, adapters=model.lora, merge=model.lora_merge)
    _remove_if_empty(Path(args.output_dir), created)
    return plan


def _remove_if_empty(run: Path, created: bool) -> None:
    """Removes the folder that a Trainer creates before it looks at its settings."""
    if created and run.is_dir() and not any(run.iterdir()):
        run.rmdir()


def _train_with_fitting_batch(
    trainer: MT5Trainer,
    settings: MT5ModelArguments,
    args: MT5Arguments,
    prepared: Prepared,
    data: MT5DataArguments,
    say: Callable[[str], None],
) -> MT5Trainer:
    """Trains; when memory runs out in the first steps, starts again from the first weights with half the batch."""
    while True:
        try:
            trainer.train()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if args.world_size > 1 or trainer.state.global_step > FIRST_STEPS:
                raise ValueError(
                    f"out of memory at step {trainer.state.global_step} with per_device_train_batch_size="
                    f"{args.per_device_train_batch_size}; halve it, double gradient_accumulation_steps and start again"
                ) from error
        else:
            return trainer
        batch, accumulation = smaller_batch(args.per_device_train_batch_size, args.gradient_accumulation_steps)
        say(
            f"out of memory with {args.per_device_train_batch_size} records at once: going on with {batch} x "
            f"{accumulation} accumulated, the same effective batch of {trainer.effective_batch()}"
        )
        facts, datasets = trainer.recorder.facts, (trainer.train_dataset, trainer.eval_dataset)
        prepared.model = trainer.model = trainer.model_wrapped = None
        del trainer
        free_memory()
        args = replace(
            args, per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation, overwrite=True
        )
        prepared.model = start_model(settings, args, prepared.tokenizer)
        trainer = MT5Trainer(prepared.model, args, prepared.tokenizer, *datasets, prepared.validation, data.prefix)
        trainer.recorder.facts = facts


def save_final(trainer: MT5Trainer, settings: MT5ModelArguments, data: MT5DataArguments) -> Path:
    """Writes `final/`: model (or adapters alone), tokenizer and the task's fields."""
    path = Path(trainer.args.output_dir) / FINAL_MODEL
    model = trainer.accelerator.unwrap_model(trainer.model)
    if settings.lora and settings.lora_merge:
        model = model.merge_and_unload()

    def fill(folder: Path) -> None:
        model.save_pretrained(folder)
        trainer.processing_class.save_pretrained(folder)
        fields = data.fields()
        task = {
            "source_fields": fields.sources,
            "target_fields": fields.targets,
            "id": fields.id,
            "prefix": data.prefix,
        }
        limits = {"max_source_length": data.max_source_length, "max_target_length": data.max_target_length}
        write_json(folder / TASK_FILE, task | limits)

    if trainer.is_world_process_zero():
        write_folder(path, fill)
    trainer.accelerator.wait_for_everyone()
    return path


def run_training(
    model: MT5ModelArguments, data: MT5DataArguments, args: MT5Arguments, say: Callable[[str], None] = print
) -> dict:
    """Fine-tunes mT5 from settings to run folder.

    Returns:
        `dict`: the figures of `training_metrics.json`: loss first, best and last, scores of the whole validation split,
        examples, steps and time.

    Raises:
        ValueError: settings, data or model that cannot be used, or too little disk; nothing has been written then.
    """
    check_world_size(args.expected_world_size)
    run = Path(args.output_dir)
    if not PartialState().is_main_process:
        say = lambda line: None  # noqa: E731
    check_output_folder(run, args.resume, args.overwrite)
    created = not run.exists()
    try:
        trainer, prepared = build_trainer(model, data, args, say)
        for line in describe(trainer, prepared, data):
            say(line)
        plan = make_plan(trainer, model.preset, adapters=model.lora, merge=model.lora_merge)
        for line in plan.lines():
            say(line)
        plan.check_disk()
        trainer = _train_with_fitting_batch(trainer, model, args, prepared, data, say)
    finally:
        _remove_if_empty(run, created)
    trainer.generate_all_rows = True
    scores = trainer.evaluate(metric_key_prefix="final")
    save_final(trainer, model, data)
    metrics = _metrics_of(trainer, scores)
    if trainer.is_world_process_zero():
        write_json(run / METRICS_FILE, metrics)
        plot_curves(trainer.state.log_history, PANELS, "mT5", run / CURVES_FILE)
    return metrics


def _metrics_of(trainer: MT5Trainer, scores: dict[str, float]) -> dict:
    history = trainer.state.log_history
    losses = [(entry["step"], entry["eval_loss"]) for entry in history if "eval_loss" in entry]
    final = next((entry for entry in reversed(history) if "train_runtime" in entry), {})
    timing = ("runtime", "per_second", "epoch", "preparation")
    return {
        "validation_loss": {
            "first": losses[0][1] if losses else None,
            "best": min(loss for _, loss in losses) if losses else None,
            "last": losses[-1][1] if losses else None,
        },
        "final": {
            name.removeprefix("final_"): value
            for name, value in scores.items()
            if not any(word in name for word in timing)
        },
        "examples": getattr(trainer, "examples", []),
        "steps": trainer.state.global_step,
        "max_steps": trainer.state.max_steps,
        "seconds": final.get("train_runtime"),
    }


def read_task(folder: str | Path) -> dict | None:
    """The task that a `final/` folder was trained on, or None for another model."""
    path = Path(folder) / TASK_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def best_checkpoint(run: Path) -> Path | None:
    """The best checkpoint that a run recorded.

    Raises:
        ValueError: the folder holds no run, or one that is not over.
    """
    if not (run / RUN_FILE).is_file():
        raise ValueError(f"{run} holds no run (no {RUN_FILE}); name a run folder")
    record = json.loads((run / RUN_FILE).read_text(encoding="utf-8"))
    if record["status"] not in ("finished", "stopped early"):
        raise ValueError(f"{run} is not finished, so its checkpoints are still needed; resume it first")
    return run / f"checkpoint-{record['best_step']}" if record["best_step"] else None


def say_to_stderr(line: str) -> None:
    """Writes a line to standard error."""
    sys.stderr.write(line + "\n")
