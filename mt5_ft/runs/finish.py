"""Finishes a run: saves final/, metrics and curves."""

from collections.abc import Sequence
from pathlib import Path

from ft_core.io.files import write_folder, write_json, write_text
from ft_core.io.progress_lines import span
from ft_core.report.write import report_at_end
from ft_core.runs.folder import CURVES_FILE, FINAL_MODEL, KEPT_IDS_FILE, METRICS_FILE
from ft_core.training.curves import Panel, plot_curves
from ft_core.training.result import TrainingResult

from ..models.task import write_task
from ..summaries.health import health_warnings
from ..training.arguments import MT5DataArguments, MT5ModelArguments
from ..training.trainer import DEFAULT_LENGTH, MT5Trainer
from .cleaning import keep_within_limit
from .trimming import Trimming

SCORES = ("rouge1", "rouge2", "rougeL", "chrf", "bleu")
SHARES = ("empty_share", "sentinel_share", "repeated_share", "only_punctuation_share", "identical_share")
SHOWN_CHARACTERS = 160


PANELS = (
    Panel("cross-entropy per target token, nats", ("loss",)),
    Panel("accuracy of target tokens", ("token_accuracy",)),
    Panel("learning rate", ("learning_rate",)),
    Panel("gradient norm", ("grad_norm",), log_scale=True),
)
TIMINGS = ("runtime", "per_second", "epoch", "preparation")


def save_final(
    trainer: MT5Trainer, settings: MT5ModelArguments, data: MT5DataArguments, trimming: Trimming | None = None
) -> Path:
    """Writes `final/`: model (or adapters alone), tokenizer, the task's fields, and ids of a trimmed vocabulary."""
    path = Path(trainer.args.output_dir) / FINAL_MODEL
    model = trainer.accelerator.unwrap_model(trainer.model)
    if settings.lora and settings.lora_merge:
        model = model.merge_and_unload()

    def fill(folder: Path) -> None:
        model.save_pretrained(folder)
        trainer.processing_class.save_pretrained(folder)
        limits = {name: getattr(data, name) or DEFAULT_LENGTH for name in ("max_source_length", "max_target_length")}
        write_task(folder, data.fields(), prefix=data.prefix, **limits)
        if trimming is not None:
            write_text(folder / KEPT_IDS_FILE, trimming.listed())

    if trainer.is_world_process_zero():
        write_folder(path, fill)
    trainer.accelerator.wait_for_everyone()
    return path


def finish_training(
    trainer: MT5Trainer,
    settings: MT5ModelArguments,
    data: MT5DataArguments,
    trimming: Trimming | None = None,
    score: bool = True,
) -> TrainingResult:
    """Scores the whole validation split, unless `score` is off, and writes `final/`, figures and curves.

    Returns:
        [`TrainingResult`]: a `dict` of the figures, which prints as a few lines.
    """
    trainer.generate_all_rows = True
    scores = trainer.evaluate(metric_key_prefix="final") if score else {}
    trainer.trackers.close()
    save_final(trainer, settings, data, trimming)
    metrics = _metrics_of(trainer, scores)
    if trainer.is_world_process_zero():
        run = Path(trainer.args.output_dir)
        plot_curves(trainer.state.log_history, PANELS, "mT5", run / CURVES_FILE)
        write_json(run / METRICS_FILE, metrics)  # marks the run as complete
        keep_within_limit(run, trainer.args.save_total_limit)
        report_at_end(run, "mt5_ft.report.views")
    return result_of(metrics, trainer.args.output_dir, trainer.state.log_history)


def result_of(metrics: dict, run: str | Path, history: Sequence[dict] = ()) -> TrainingResult:
    """Figures of a run with their short text; without a history for a run that was finished before."""
    loss, final = metrics["validation_loss"], metrics["final"]
    found = ["not evaluated" if loss["best"] is None else f"best validation loss {loss['best']:.4f}"]
    if loss["first"] is not None:
        found[0] += f", {loss['first']:.4f} at first"
    scores = ", ".join(f"{name} {final[name]:.1f}" for name in SCORES if name in final)
    found += [f"{scores} (of 100, validation)"] if scores else []
    return TrainingResult(metrics, run, "; ".join(found), history, PANELS[0])


def _metrics_of(trainer: MT5Trainer, scores: dict[str, float]) -> dict:
    history = trainer.state.log_history
    losses = [(entry["step"], entry["eval_loss"]) for entry in history if "eval_loss" in entry]
    final = next((entry for entry in reversed(history) if "train_runtime" in entry), {})
    return {
        "validation_loss": {
            "first": losses[0][1] if losses else None,
            "first_step": losses[0][0] if losses else None,
            "best": min(loss for _, loss in losses) if losses else None,
            "last": losses[-1][1] if losses else None,
        },
        "validation_rows": len(trainer.eval_dataset),
        "final": {
            name.removeprefix("final_"): value
            for name, value in scores.items()
            if not any(word in name for word in TIMINGS)
        },
        "examples": getattr(trainer, "examples", []),
        "steps": trainer.state.global_step,
        "max_steps": trainer.state.max_steps,
        "seconds": final.get("train_runtime", trainer.recorder.seconds()),
    }


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= SHOWN_CHARACTERS else plain[: SHOWN_CHARACTERS - 1] + "…"


def summary_lines(metrics: dict) -> list[str]:
    """The summary lines of `training_metrics.json`."""
    loss, final = metrics["validation_loss"], metrics["final"]
    lines = []
    for example in metrics["examples"]:
        lines += [
            f"source      {_short(example['source'])}",
            f"reference   {_short(example['reference'])}",
            f"prediction  {_short(example['prediction'])}",
            "",
        ]
    if loss["first"] is not None:
        when = f"at step {loss['first_step']}" if loss.get("first_step") else "before training"
        lines.append(
            f"loss        validation {loss['first']:.4f} {when}, {loss['best']:.4f} best, {final['loss']:.4f} final"
        )
    scores = ", ".join(f"{name} {final[name]:.1f}" for name in SCORES if name in final)
    lines.append(f"scores      {scores} (of 100, all {final['summarised_rows']} validation records)")
    known = [name for name in SHARES if name in final]  # runs of earlier versions lack some
    if known:
        shares = ", ".join(f"{final[name]:.1%} {name.removesuffix('_share').replace('_', ' ')}" for name in known)
        lines.append(f"outputs     {shares}, length ratio {final['length_ratio']:.2f}")
        lines += [f"WARNING     {line}" for line in health_warnings(final, final["summarised_rows"])]
    took = f" in {span(metrics['seconds'])}" if metrics["seconds"] else ""
    lines.append(f"trained     {metrics['steps']} of {metrics['max_steps']} steps{took}")
    return lines
