"""A complete mT5 run, from settings to run folder; called by the command line and the example."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from accelerate import PartialState
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, TrainerCallback
from transformers.utils import logging

from ft_core.cli.learning_rates import AutoRate
from ft_core.hub.resolve import Start
from ft_core.hub.training_push import push_finished
from ft_core.io.console import echo
from ft_core.io.memory import free_memory, is_out_of_memory
from ft_core.io.notebook import without_text_bars
from ft_core.runs.folder import FINAL_MODEL, KEPT_IDS_FILE
from ft_core.training.budget.choice import (
    FACT as BUDGET,
    choose,
    explain,
    measured_for,
    record_of,
    recorded_choice,
    settle,
    settle_as_recorded,
)
from ft_core.training.budget.duration import is_open
from ft_core.training.find_lr.search import FACT, FoundRate, adopt_recorded_rate, find_rate, settle_rate
from ft_core.training.result import TrainingResult
from ft_core.training.run import preflight, resume_finished

from ..data.preprocessing import TokenLengths, tokenize_records
from ..data.record_table import RecordTable
from ..data.records import Record
from ..hub.push import mt5_model
from ..training.arguments import LEARNING_RATES, MT5Arguments, MT5DataArguments, MT5ModelArguments
from ..training.presets import PRESETS
from ..training.resuming import ASKED, adopt_recorded, batch_asked, check_resumable
from ..training.trainer import MT5Trainer
from .cleaning import keep_within_limit
from .data import content_digest, read_splits
from .finish import finish_training, result_of
from .lengths import ChosenLengths, adopt_recorded_lengths, choose_lengths
from .out_of_memory import REMEDY, train_with_fitting_batch
from .planning import Plan, cost_of, make_plan
from .start import resolve_model, start_model, start_tokenizer
from .trimming import KeepIds, Trimming, choose_trimming

CUT_WARNING = 0.05
SCRATCH_RATE = 1e-3
SMALLER = ("a smaller model such as google/mt5-small", "--trim_vocab true")


@dataclass
class Prepared:
    """The inputs of a run except its weights; `data` has a limit for sources and for targets."""

    start: Start
    data: MT5DataArguments
    chosen: ChosenLengths
    tokenizer: PreTrainedTokenizerBase
    train: Sequence[Record]
    validation: Sequence[Record]
    train_tokens: Dataset
    validation_tokens: Dataset
    lengths: TokenLengths
    facts: dict
    trimming: Trimming | None = None


def _facts(
    model: MT5ModelArguments, data: MT5DataArguments, train: Sequence[Record], validation: Sequence[Record]
) -> dict[str, object]:
    """Facts that affect the result of a run, in addition to its settings."""
    kept = {name: value for name, value in vars(data).items() if name not in ("token_cache", "id_field")}
    return {"stage": "mt5", "model": vars(model), "data": {**kept, "content": content_digest(train, validation)}}


def _found(
    train: Sequence[Record], validation: Sequence[Record], lengths: TokenLengths, trimming: Trimming | None
) -> dict[str, object]:
    """Facts on the data for the report: lengths, texts in both splits, vocabulary."""
    of_train, of_validation = (RecordTable.of(records).sources for records in (train, validation))
    found: dict[str, object] = {
        "lengths": asdict(lengths),
        "shared_sources": int(np.isin(of_train, of_validation).sum()),
    }
    if trimming is not None:
        pieces = {"before": len(trimming.full), "after": len(trimming.tokenizer)}
        unseen = {"unseen_growth": trimming.unseen.growth} if trimming.unseen else {}
        found["vocabulary"] = {**pieces, "coverage": trimming.records.coverage, **unseen}
    return found


def prepare(
    start: Start, data: MT5DataArguments, args: MT5Arguments, splits: tuple[Sequence[Record], Sequence[Record]]
) -> Prepared:
    """Loads the tokenizer and tokenises the records.

    Raises:
        ValueError: settings or a tokenizer that cannot be used.
    """
    model = start.settings
    if args.disable_tqdm:
        logging.disable_progress_bar()  # one for each file that is loaded or saved
    train, validation = splits
    tokenizer, trimming = start_tokenizer(start, args, train), None
    data, chosen = choose_lengths(data, train, tokenizer, args.tokens_per_batch)
    if model.trim_vocab:
        trimming = choose_trimming(tokenizer, model, data, args, (train, validation))
        tokenizer = trimming.tokenizer
    limits = {"max_source_length": data.max_source_length, "max_target_length": data.max_target_length}
    limits |= {"prefix": data.prefix, "cache": data.token_cache}
    with PartialState().main_process_first(), without_text_bars():
        train_tokens, lengths = tokenize_records(train, tokenizer, **limits)
        validation_tokens, _ = tokenize_records(validation, tokenizer, **limits)
    facts = _facts(model, data, train, validation) | _found(train, validation, lengths, trimming)
    tokens = train_tokens, validation_tokens
    return Prepared(start, data, chosen, tokenizer, train, validation, *tokens, lengths, facts, trimming)


def build_trainer(prepared: Prepared, data: MT5DataArguments, args: MT5Arguments) -> MT5Trainer:
    """Loads the model and puts it into a trainer with the records.

    Raises:
        ValueError: a model that cannot be used or does not fit into memory, or a setting that needs a missing package.
    """
    try:
        trainer = MT5Trainer(
            start_model(prepared.start, args, prepared.tokenizer, prepared.trimming),
            args,
            prepared.tokenizer,
            prepared.train_tokens,
            prepared.validation_tokens,
            prepared.validation,
            data.prefix,
            callbacks=[KeepIds(prepared.trimming)] if prepared.trimming else None,
        )
    except (ImportError, RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise ValueError(
                f"out of memory while loading {prepared.start.settings.model}: a smaller batch does not help; {REMEDY}"
            ) from error
        raise ValueError(" ".join(str(error).split())) from error  # an optional package, e.g. of report_to
    trainer.recorder.facts = prepared.facts
    if prepared.trimming:
        trainer.further_files[KEPT_IDS_FILE] = prepared.trimming.listed()
    return trainer


def describe(prepared: Prepared, args: MT5Arguments) -> list[str]:
    """Lines on data and lengths."""
    data = prepared.data
    return [
        f"records     {len(prepared.train):,} for training, {len(prepared.validation):,} for validation",
        f"lengths     {prepared.lengths.line(data.max_source_length, data.max_target_length)}",
        f"precision   {args.precision} on {args.device.type}",
        *(prepared.trimming.lines() if prepared.trimming else ()),
    ]


def warnings_of(prepared: Prepared, args: MT5Arguments) -> list[str]:
    """Warnings where the limits cut off too much, or the learning rate does not suit the run."""
    lines = []
    model, lengths = prepared.start.settings, prepared.lengths
    for name, share, most in (
        ("source", lengths.source_cut, lengths.source_most),
        ("target", lengths.target_cut, lengths.target_most),
    ):
        is_chosen = name in prepared.chosen.limits and not prepared.chosen.is_capped(name)
        if share > CUT_WARNING and not is_chosen:
            lines.append(
                f"WARNING     {share:.0%} of the {name}s are truncated; max_{name}_length {most} would fit 95 % of them"
            )
    if isinstance(args.learning_rate, AutoRate):
        return lines
    if model.from_scratch and args.learning_rate < SCRATCH_RATE:
        lines.append(f"WARNING     random weights learn little at learning_rate={args.learning_rate:g}; set e.g. 3e-3")
    if args.optimizer == "adafactor" and args.learning_rate == PRESETS.get(model.preset, {}).get("learning_rate"):
        usual = LEARNING_RATES[args.optimizer]
        lines.append(
            f"WARNING     learning_rate={args.learning_rate:g} of preset {model.preset} is for adamw, but adafactor "
            f"learns little at it; set --learning_rate {usual:g}"
        )
    return lines


def _with_limits(args: MT5Arguments, data: MT5DataArguments) -> MT5Arguments:
    """The settings with summaries as long as the targets, where nothing else is said."""
    return args if args.generation_max_length else replace(args, generation_max_length=data.max_target_length)


def _plan(trainer: MT5Trainer, prepared: Prepared) -> Plan:
    model = prepared.start.settings
    plan = make_plan(trainer, model.preset, adapters=model.lora, merge=model.lora_merge)
    plan.lengths = prepared.chosen.line(prepared.lengths)
    return plan


def _settle_budget(prepared: Prepared, data: MT5DataArguments, args: MT5Arguments) -> MT5Arguments:
    """The settings with the steps of the time budget, and with a batch that fits into memory; recorded with the run."""
    began = time.time()

    def choose_steps(trainer: MT5Trainer) -> None:
        budget = trainer.args.time_budget
        (cost,) = measured_for(budget, lambda: [cost_of(trainer)], began)
        steps = choose([cost], budget, SMALLER)
        explain([cost], steps, budget)
        prepared.facts[BUDGET] = record_of([cost], steps, budget)
        settle(trainer.args, *steps)

    trainer = train_with_fitting_batch(lambda settings: build_trainer(prepared, data, settings), args, choose_steps)
    args = trainer.args
    del trainer
    free_memory()  # or the model would be there twice
    return args


def plan_run(model: MT5ModelArguments, data: MT5DataArguments, args: MT5Arguments) -> Plan:
    """Estimates a run with a batch size that fits into memory; writes nothing to its folder."""
    created = not Path(args.output_dir).exists()
    plans: list[Plan] = []
    start = resolve_model(model, args)
    try:
        data = adopt_recorded_lengths(data, args)
        prepared = prepare(start, data, args, read_splits(data, args.seed))
        args = _with_limits(args, prepared.data)
        for line in describe(prepared, args):
            echo(line)
        if is_open(args):
            args = _settle_budget(prepared, data, args)
        train_with_fitting_batch(
            lambda settings: build_trainer(prepared, prepared.data, settings),
            args,
            lambda trainer: plans.append(_plan(trainer, prepared)),
        )
    finally:
        _remove_if_empty(Path(args.output_dir), created)
    plans[0].advice = warnings_of(prepared, args)
    return plans[0]


def _remove_if_empty(run: Path, created: bool) -> None:
    """Removes the folder that a Trainer creates before it looks at its settings."""
    if created and run.is_dir() and not any(run.iterdir()):
        run.rmdir()


def run_training(
    model: MT5ModelArguments,
    data: MT5DataArguments,
    args: MT5Arguments,
    *,
    callbacks: Sequence[TrainerCallback] = (),
    score: bool = True,
    only_find_rate: bool = False,
) -> TrainingResult | FoundRate:
    """Fine-tunes mT5 from settings to run folder.

    Args:
        model, data, args: the settings.
        callbacks: added to each trainer's.
        score (`bool`): score the best model on the full validation split at the end; off in a search.
        only_find_rate (`bool`): search for the learning rate instead of training; writes nothing to the run folder.

    Returns:
        What was found, with `only_find_rate`; otherwise
        [`TrainingResult`]: a `dict` of the figures of `training_metrics.json`: loss first, best and last, scores of the
        whole validation split, examples, steps and time.

    Raises:
        ValueError: settings, data or model that cannot be used, or too little disk; nothing has been written then.
    """
    run = Path(args.output_dir)
    with nullcontext() if only_find_rate else preflight(run, args):
        asked = batch_asked(args)
        args, data = adopt_recorded(args), adopt_recorded_lengths(data, args)
        splits = read_splits(data, args.seed)
        start = resolve_model(model, args)
        model = start.settings
        search, recorded = adopt_recorded_rate(args), recorded_choice(args, run)
        if recorded:
            settle_as_recorded(args, recorded, "training")
        if args.resume:
            check_resumable(run, _facts(model, data, *splits), args)
            if metrics := resume_finished(args, MT5Trainer.program, FINAL_MODEL, mt5_model):
                keep_within_limit(run, args.save_total_limit)  # a kill may have come between
                return result_of(metrics, run)

        def attempt(trainer: MT5Trainer) -> None:
            for callback in callbacks:
                trainer.add_callback(callback)
            plan = _plan(trainer, prepared)
            for line in plan.lines():
                echo(line)
            plan.check_disk()
            trainer.train()

        def train(settings: MT5Arguments, callbacks: list[TrainerCallback]) -> MT5Trainer:
            def with_callbacks(trainer: MT5Trainer) -> None:
                for callback in callbacks:
                    trainer.add_callback(callback)
                trainer.train()

            return train_with_fitting_batch(lambda one: build_trainer(prepared, data, one), settings, with_callbacks)

        prepared = prepare(start, data, args, splits)
        data = prepared.data
        args = _with_limits(args, data)
        if only_find_rate:
            return find_rate(train, args)
        if recorded:
            prepared.facts[BUDGET] = recorded
        if is_open(args):
            args = _settle_budget(prepared, data, args)
        if isinstance(args.learning_rate, AutoRate):
            search = settle_rate(train, args)
        if search:
            prepared.facts[FACT] = search
        prepared.facts[ASKED] = asked
        prepared.facts["records"] = {"train": len(prepared.train), "validation": len(prepared.validation)}
        for line in describe(prepared, args) + warnings_of(prepared, args):
            echo(line)
        trainer = train_with_fitting_batch(lambda settings: build_trainer(prepared, data, settings), args, attempt)
        try:
            metrics = finish_training(trainer, model, data, prepared.trimming, score=score)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise ValueError(
                "out of memory in the last evaluation; the checkpoints are complete: halve per_device_eval_batch_size "
                "and continue with --resume"
            ) from error
        push_finished(trainer.program, trainer.args, mt5_model, trainer.push_checkpoints)
        return metrics
