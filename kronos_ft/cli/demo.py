"""The demonstration: fine-tunes tokenizer, predictor and quantile head on BTC candles, forecasts, and evaluates.

Read it as an example of the Python interface: `run_demo` is a script of seven numbered steps.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ft_core.cli.options import ExactParser
from ft_core.cli.program import command_name

DEMO_RUN = "runs/finetune-demo"
DEMO_STEPS = 40


def run_demo(
    data: str = "sample", output_dir: str = DEMO_RUN, steps: int = DEMO_STEPS, overwrite: bool = False
) -> Path:
    """Trains, forecasts and evaluates; the main process prints the results.

    Without a network it trains the same architectures (2k, mini) from random weights, to show that everything works.

    Args:
        data (`str`): `sample` for the embedded candles, or what [`load_candles`] takes.
        output_dir (`str`): run folder; what is in the default one is replaced.
        steps (`int`): optimizer steps of the tokenizer, at least 4; the predictor takes twice as many, the quantile
            head ten times.
        overwrite (`bool`): also replace a run in a folder other than the default.

    Returns:
        The run folder: `tokenizer/`, `predictor/`, `quantiles/`, `tokens/`, `forecast.png`, `evaluation/`.

    Raises:
        ValueError: too few steps, data that cannot be used, or a folder that holds something.
    """
    if steps < 4:
        raise ValueError(f"steps={steps} is too small for two evaluations; use 4 or more")
    from transformers import set_seed

    from ft_core.runs.folder import check_writable, is_empty

    from .. import (
        EvaluateArguments,
        Kronos,
        KronosArguments,
        KronosConfig,
        KronosForecaster,
        KronosForQuantiles,
        KronosQuantileArguments,
        KronosQuantilesConfig,
        KronosQuantileTrainer,
        KronosTokenizer,
        KronosTokenizerArguments,
        KronosTokenizerConfig,
        KronosTokenizerTrainer,
        KronosTrainer,
        QuantileWindowDataset,
        TokenWindowDataset,
        WindowDataset,
        WindowShape,
        describe_forecast,
        finish_run,
        forecast_series,
        run_evaluation,
        summary_table,
        terminal_text,
    )
    from ..data.sources import load_source
    from ..runs.quantiles import pool_states
    from ..windows.quantile_windows import CONTEXT_FEATURES

    run = Path(output_dir)
    check_writable(run)
    # the layout is that of `kronos-ft finetune`: a folder that was named may hold days of training
    if run != Path(DEMO_RUN) and not overwrite and run.is_dir() and not is_empty(run):
        raise ValueError(
            f"output_dir={run} is not empty; pass --overwrite to replace the run in it, or choose another folder"
        )
    shared = {"overwrite": True, "eval_strategy": "steps", "save_strategy": "steps", "logging_steps": 5, "seed": 7}

    # 1. Settings of all stages come first: they start the process group when there are several processes.
    tokenizer_args = KronosTokenizerArguments(
        output_dir=str(run / "tokenizer"),
        learning_rate=1e-4,
        per_device_train_batch_size=16,
        pct_start=0.1,
        max_steps=steps,
        eval_steps=steps // 2,
        save_steps=steps // 2,
        **shared,
    )
    args = KronosArguments(
        output_dir=str(run / "predictor"),
        learning_rate=4e-5,
        per_device_train_batch_size=32,
        pct_start=0.1,
        max_steps=2 * steps,
        eval_steps=steps,
        save_steps=steps,
        **shared,
    )

    head_args = KronosQuantileArguments(
        output_dir=str(run / "quantiles"),
        per_device_train_batch_size=64,
        pct_start=0.1,
        max_steps=10 * steps,
        eval_steps=2 * steps,
        save_steps=2 * steps,
        early_stopping=False,
        **shared | {"logging_steps": 20},
    )

    # 2. Candles, and windows of 90 + 10 + 1 bars; one window is left out between the splits.
    series = load_source(data, "error", "UTC")
    embargo = WindowShape().length
    train = WindowDataset(series, "train", WindowShape(stride=10))
    validation = WindowDataset(series, "validation", WindowShape(stride=20), embargo=embargo)
    test = WindowDataset(series, "test", WindowShape(stride=20), embargo=embargo)

    # 3. The published weights, or the same architectures from random ones.
    set_seed(7)
    try:
        tokenizer = KronosTokenizer.from_pretrained("NeoQuasar/Kronos-Tokenizer-2k")
        model = Kronos.from_pretrained("NeoQuasar/Kronos-mini")
    except ConnectionError:
        if args.process_index == 0:
            print(
                "Cannot download the published weights: training the same architectures (2k, mini) from random weights."
            )
        tokenizer = KronosTokenizer(KronosTokenizerConfig.from_size("2k"))
        model = Kronos(KronosConfig.from_size("mini"))
        model.config.rotate_sibling = True  # trained on the true coarse token, it forecasts better with it
        tokenizer_args.learning_rate, args.learning_rate = 2e-3, 1e-3

    # 4. The tokenizer; its best model makes the tokens.
    trainer = KronosTokenizerTrainer(tokenizer, tokenizer_args, train, validation)
    trainer.train()
    metrics = {"tokenizer": finish_run(trainer, test)}
    tokenizer = KronosTokenizer.from_pretrained(run / "tokenizer" / "best_model")

    # 5. The predictor, on tokens that are made once and kept.
    tokens = [TokenWindowDataset(windows, tokenizer, run / "tokens") for windows in (train, validation, test)]
    trainer = KronosTrainer(model, args, *tokens[:2])
    trainer.train()
    metrics["predictor"] = finish_run(trainer, tokens[2])

    # 6. The quantile head on the frozen body, whose states are computed once. It starts as a volatility-scaled cone.
    windows = [QuantileWindowDataset(one, tokenizer, run / "tokens") for one in (train, validation, test)]
    body = Kronos.from_pretrained(run / "predictor" / "best_model")
    config = KronosQuantilesConfig.on_body(body.config, horizon=10, lookback=90, num_features=len(CONTEXT_FEATURES))
    head = KronosForQuantiles.on_body(body, config)
    head.train_body(False)
    head.fit_cone(*windows[0].outcomes(range(len(windows[0]))))
    for one in windows:
        pool_states(one, head, head_args.device)
    trainer = KronosQuantileTrainer(head, head_args, *windows[:2])
    trainer.train()
    metrics["quantiles"] = finish_run(trainer, windows[2])

    # 7. One process tells how it went, forecasts the last ten bars of the data, which it hides, and asks whether such
    #    forecasts are better than the references: those of sampled paths may well not be after so few steps.
    if trainer.is_world_process_zero():
        for stage, figures in metrics.items():
            print(f"\n{stage}\n{summary_table(figures)}")
        forecaster = KronosForecaster.from_pretrained(run)
        hidden = str(series[0].timestamps[-10])
        forecast = forecast_series(forecaster.predictor, series[:1], num_paths=50, origin=hidden)[0]
        forecast.plot(run / "forecast.png")
        print("", *describe_forecast(forecast), sep="\n")
        evaluation = run_evaluation(
            EvaluateArguments(
                data=data,
                compare=[f"sampled paths={run / 'predictor'}", f"quantile head={run}"],
                tokenizer=str(run / "tokenizer"),
                step=50,
                max_origins=60,
                num_paths=30,
                output_dir=str(run / "evaluation"),
                overwrite=True,
            )
        )
        print("", terminal_text(evaluation), "", sep="\n")
        print(f"forecast           {run}/forecast.png")
        print(f"evaluation         {run}/evaluation/evaluation.md, skill.png, reliability.png")
        print(f"curves             {run}/predictor/loss_curves.png")
        program = command_name("kronos-ft")
        print(f"with your candles  {program} forecast --data FILE --model {run}")
        print(
            f"train on them      {program} finetune --data FILE --model {run} --output_dir runs/mine --preset cpu "
            "--learning_rate 1e-3 --stages tokenizer predictor quantiles"
        )
        print(f"run folder         {run}")
    return run


def demo_parser(program: str = "kronos-ft demo") -> argparse.ArgumentParser:
    """The options of the demonstration."""
    parser = ExactParser(prog=program, description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", default="sample", help="candle file (default: embedded BTC candles)")
    parser.add_argument("--output_dir", default=DEMO_RUN, help=f"run folder (default {DEMO_RUN}, which is overwritten)")
    parser.add_argument(
        "--overwrite", action="store_true", help="also replace a run in a folder other than the default"
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=DEMO_STEPS,
        help=f"steps of the tokenizer; the predictor trains twice as many (default {DEMO_STEPS})",
    )
    return parser


def demo_command(argv: Sequence[str]) -> int:
    """`kronos-ft demo [FILE] [--output_dir RUN] [--overwrite] [--steps N]`."""
    options = demo_parser().parse_args(argv)
    run_demo(options.data, options.output_dir, options.steps, options.overwrite)
    return 0
