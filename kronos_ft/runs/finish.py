"""Finishes a run: saves the best model, metrics, curves and summary table."""

import statistics
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from ft_core.checkpoints.retention import metric_history
from ft_core.hub.training_push import push_finished
from ft_core.io.console import lines_to
from ft_core.io.files import write_folder, write_json
from ft_core.io.progress_lines import span
from ft_core.report.write import report_at_end
from ft_core.runs.folder import BEST_MODEL, CURVES_FILE, METRICS_FILE
from ft_core.training.curves import plot_curves
from ft_core.training.result import TrainingResult

from ..hub.push import kronos_model
from ..training.window_trainer import WindowTrainer
from ..windows.dataset import WindowDataset


def training_metrics(trainer: WindowTrainer, terms: Sequence[str]) -> dict:
    """First and last value of each term in training and validation, the best evaluation, throughput and time.

    Validation figures before step 1 are those of the starting weights.
    """
    args, state = trainer.args, trainer.state
    history = state.log_history
    training = [entry for entry in history if "loss" in entry and "learning_rate" in entry]
    evaluations = [entry for entry in history if f"eval_{terms[0]}" in entry]
    scores = metric_history(state, args.metric_for_best_model or "")
    trained = [(step, value) for step, value in scores if step > 0 and value == value]
    choose = max if args.greater_is_better else min
    best = choose(trained, key=lambda pair: pair[1]) if trained else None
    start = scores[0][1] if scores and scores[0][0] == 0 else None
    final = next((entry for entry in reversed(history) if "train_runtime" in entry), {})
    return {
        "metric": args.metric_for_best_model,
        "start": start,
        "best": best and {"step": best[0], "value": best[1]},
        "improved": best is not None and (start is None or choose(start, best[1]) == best[1] != start),
        "best_checkpoint": state.best_model_checkpoint and Path(state.best_model_checkpoint).name,
        "train": {term: {"first": training[0].get(term), "last": training[-1].get(term)} for term in terms if training},
        "validation": {
            term: {"first": evaluations[0].get(f"eval_{term}"), "last": evaluations[-1].get(f"eval_{term}")}
            for term in terms
            if evaluations
        },
        "bars_per_second": statistics.median(entry["bars_per_second"] for entry in training) if training else None,
        "steps": state.global_step,
        "max_steps": state.max_steps,
        "epochs": state.epoch,
        "seconds": final.get("train_runtime", trainer.recorder.seconds()),
        "stopped_early": state.global_step < state.max_steps,
    }


def save_best_model(trainer: WindowTrainer) -> Path:
    """Writes the current model of the trainer (the best one at the end of training) to `best_model/`.

    The folder holds `config.json` and `model.safetensors` and loads in this library and in the published code; or
    low-rank adapters, which this library loads together with the model that they belong to.
    """
    path = Path(trainer.args.output_dir) / BEST_MODEL
    state_dict = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.is_world_process_zero():
        write_folder(path, lambda folder: trainer.write_model(folder, state_dict))
    trainer.accelerator.wait_for_everyone()
    return path


def _outcome(metrics: dict) -> str:
    """One line: the best evaluation, and the test loss."""
    best, name = metrics["best"], metrics["metric"]
    start = f", {_cell(metrics['start'])} before training" if metrics["start"] is not None else ""
    found = f"best {name} {_cell(best['value'])} at step {best['step']}{start}" if best else "not evaluated"
    tested = metrics.get("test", {}).get((name or "").removeprefix("eval_"))
    return found + (f"; test {_cell(tested)}" if tested is not None else "")


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def summary_table(metrics: dict) -> str:
    """The summary table of a run: first and last terms, best evaluation, speed."""
    lines = [f"{'':18}{'train first':>13}{'train last':>13}{'valid. first':>14}{'valid. last':>13}"]
    for term in dict.fromkeys([*metrics["train"], *metrics["validation"]]):
        train, valid = (metrics[part].get(term, {}) for part in ("train", "validation"))
        row = (train.get("first"), train.get("last"), valid.get("first"), valid.get("last"))
        lines.append(f"{term:18}" + "".join(f"{_cell(v):>{w}}" for v, w in zip(row, (13, 13, 14, 13), strict=True)))
    best = metrics["best"]
    if best:
        start = f", starting weights {_cell(metrics['start'])}" if metrics["start"] is not None else ""
        fall = ""
        if metrics["start"] and metrics["improved"]:
            ratio = metrics["start"] / best["value"]
            fall = f" ({ratio:.1f}x lower)" if not 0 < ratio < 2 else f" ({1 - 1 / ratio:.1%} lower)"
        lines.append(
            f"validation         best {metrics['metric']} {_cell(best['value'])} at step {best['step']}{start}{fall}"
        )
        if not metrics["improved"]:
            lines.append("                   NOT better than the starting weights: the model did not improve")
        lines.append(f"best checkpoint    {metrics['best_checkpoint'] or 'none kept'} (by {metrics['metric']})")
    if chosen := metrics.get("selection"):
        count, crps = len(chosen["candidates"]), chosen["candidates"][chosen["winner"]]
        mixed = " + the rest of the starting weights" if " of " in chosen["winner"] else ""
        lines.append(
            f"best_model         {chosen['winner']}{mixed}: validation CRPS of its forecasts {crps:.2f} bp, the lowest "
            f"of {count} candidates"
        )
    if "test" in metrics:
        metric = (metrics["metric"] or "").removeprefix("eval_")
        lines.append(f"test {metric:13} {_cell(metrics['test'].get(metric))} (held out from model selection)")
    if metrics["bars_per_second"]:
        lines.append(f"speed              {metrics['bars_per_second']:,.0f} bars per second (median)")
    done = f"{metrics['steps']} of {metrics['max_steps']} steps"
    early = ", stopped early" if metrics["stopped_early"] else ""
    took = f" in {span(metrics['seconds'])}" if metrics["seconds"] else ""
    lines.append(f"trained            {done}{took}{early}")
    return "\n".join(lines)


def finish_run(
    trainer: WindowTrainer,
    test_dataset: WindowDataset | None = None,
    title: str | None = None,
    say: Callable[[str], None] | None = None,
    selection: dict[str, object] | None = None,
) -> TrainingResult:
    """Writes `best_model/`, figures, curves and the report of a run; call it on every rank after training.

    With `push_to_hub` the best model is pushed then, by the main process; a failure is a warning.

    Args:
        trainer ([`WindowTrainer`]): after `train()`; holds the best model when `load_best_model_at_end` is set.
        test_dataset ([`WindowDataset`], *optional*): held-out windows to evaluate the best model.
        title (`str`, *optional*): heading of the picture.
        say (`Callable`, *optional*): receives the line on a push instead of standard output.
        selection (`dict`, *optional*): how the weights were chosen, kept with the figures as `selection`.

    Returns:
        [`TrainingResult`]: a `dict` of the figures of [`training_metrics`], which prints as a few lines.
    """
    run = Path(trainer.args.output_dir)
    save_best_model(trainer)
    metrics = training_metrics(trainer, trainer.summary_terms)
    if selection is not None:
        metrics["selection"] = selection
    if test_dataset is not None:
        scores = trainer.evaluate(test_dataset, metric_key_prefix="test")
        metrics["test"] = {term: scores.get(f"test_{term}") for term in trainer.summary_terms}
    trainer.trackers.close()
    if trainer.is_world_process_zero():
        plot_curves(trainer.state.log_history, trainer.panels, title or trainer.title, run / CURVES_FILE)
        write_json(run / METRICS_FILE, metrics)  # marks the run as complete
        report_at_end(run, "kronos_ft.report.views")
    trainer.accelerator.wait_for_everyone()  # a launcher ends all when one ends badly
    with lines_to(say) if say else nullcontext():
        push_finished(trainer.program, trainer.args, kronos_model, trainer.push_checkpoints)
    return TrainingResult(metrics, run, _outcome(metrics), trainer.state.log_history, trainer.panels[0])
