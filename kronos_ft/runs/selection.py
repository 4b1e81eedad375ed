"""Selects the weights of a fine-tuned predictor by its forecasts: fine-tuning must not quietly make them worse.

Candidates: the starting weights, the kept checkpoints, and interpolations of the starting weights and the best
checkpoint (WiSE-FT, Wortsman et al. 2022). All are scored by the CRPS of the close on the same validation origins, with
the same random numbers. Users report that fine-tuning published weights often makes forecasts worse (upstream issues
76, 98, 177).
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from ft_core.checkpoints.listing import list_checkpoints
from ft_core.io.console import echo
from ft_core.io.progress_lines import LineProgress

from ..data.candles import CandleSeries
from ..data.timestamps import calendar_features
from ..evaluation.origins import plan_origins
from ..evaluation.settings import OriginPlan
from ..forecasting.context import inferred_times, origin_seed
from ..forecasting.predictor import KronosPredictor
from ..models.found_model import DEFAULT_CONTEXT, FoundModel
from ..models.modeling_kronos import Kronos, KronosTokenizer
from ..scoring.metrics import crps_loss
from ..scoring.targets import CLOSE
from ..training.arguments import DataArguments
from ..training.predictor_trainer import KronosTrainer

ALPHAS = (0.25, 0.5, 0.75)  # share of the fine-tuned weights
ORIGINS, PATHS, LEAST_ORIGINS = 100, 30, 20
BUDGET = 0.1  # of the arithmetic of the training run, which the selection may cost
WEIGHTS = "model.safetensors"
START = "starting weights"
COMPARING = "candidates for best_model scored by their forecasts:"  # 5 of 7

Weights = dict[str, Tensor]
Candidate = tuple[str, Callable[[], Weights]]


def interpolate(start: Weights, tuned: Weights, alpha: float) -> Weights:
    """(1 - alpha) start + alpha tuned, for each tensor of floating-point numbers; others are those of `tuned`."""
    return {
        name: torch.lerp(start[name].to(value), value, alpha) if value.is_floating_point() else value
        for name, value in tuned.items()
    }


def candidates(
    start: Weights | None, best: Weights, best_name: str, checkpoints: dict[str, Path]
) -> Iterator[Candidate]:
    """Names of the candidates, and how to get their weights; without starting weights only the checkpoints."""
    if start is not None:
        yield START, lambda: start
    yield best_name, lambda: best
    for name, folder in checkpoints.items():
        if name != best_name:
            yield name, lambda folder=folder: load_file(folder / WEIGHTS)
    for alpha in ALPHAS if start is not None else ():
        yield f"{alpha:g} of {best_name}", lambda alpha=alpha: interpolate(start, best, alpha)


def candidate_count(keep_best: int, evaluations: int) -> int:
    """The most candidates of a run with starting weights: these, kept checkpoints, and interpolations."""
    return 1 + min(keep_best + 1, max(evaluations, 1)) + len(ALPHAS)


def affordable_origins(seen: int, lookback: int, horizon: int, count: int) -> int:
    """Validation origins, from 20 to 100, for `count` candidates within a tenth of the arithmetic of a training that
    has seen so many windows.

    Counted in bars through the network (a training bar costs three), so that it does not depend on the machine.
    """
    length = lookback + horizon
    trained = 3 * seen * length
    per_origin = count * (lookback + PATHS * horizon)
    return int(np.clip(BUDGET * trained // per_origin, LEAST_ORIGINS, ORIGINS))


class ForecastScore:
    """CRPS of a predictor's close on validation origins, in log returns; lower is better.

    Args:
        series (`list` of [`CandleSeries`]): the candles of the run.
        data ([`DataArguments`]): lookback, horizon and splits.
        tokenizer ([`KronosTokenizer`]): of the predictor.
        most (`int`): maximum number of origins.
        seed (`int`): of the paths.
        num_paths (`int`): paths per origin.
    """

    def __init__(
        self,
        series: list[CandleSeries],
        data: DataArguments,
        tokenizer: KronosTokenizer,
        most: int,
        seed: int,
        num_paths: int = PATHS,
    ):
        self.num_paths = num_paths
        self.lookback, self.horizon = data.lookback_window, max(data.predict_window, 1)
        plan = OriginPlan(
            self.lookback,
            self.horizon,
            1,
            data.split_ratios,
            data.split_dates,
            data.embargo,
            data.max_gap,
            max_origins=most,
        )
        self.tokenizer, self.clip = tokenizer, data.clip
        self.contexts, self.stamps, self.futures, self.seeds, self.truth, self.last = [], [], [], [], [], []
        self.spans: dict[str, tuple[str, str]] = {}  # by symbol: times of the first and the last bar to forecast
        for one, found in zip(series, plan_origins(series, "validation", plan), strict=True):
            for origin in found.indices.tolist():
                try:
                    future = inferred_times(one, origin, self.horizon)
                except ValueError:  # no regular pattern before this origin
                    continue
                part = slice(origin - self.lookback, origin)
                ends = one.timestamps[[origin, origin + self.horizon - 1]].astype("datetime64[s]").astype(str)
                self.spans[one.symbol] = self.spans.get(one.symbol, ends)[0], ends[1]
                self.contexts.append(one.values[part])
                self.stamps.append(calendar_features(one.timestamps[part]))
                self.futures.append(calendar_features(future))
                self.seeds.append(origin_seed(seed, one.symbol, one.timestamps[origin - 1]))
                self.truth.append(one.values[origin : origin + self.horizon, CLOSE])
                self.last.append(one.values[origin - 1, CLOSE])

    def __len__(self) -> int:
        return len(self.contexts)

    def __call__(self, model: Kronos, device: torch.device, T: float = 1.0, top_p: float = 1.0) -> float:
        """The mean over origins and horizons; T and top_p as of [`KronosPredictor.predict_paths`]."""
        bars = max(DEFAULT_CONTEXT, self.lookback + self.horizon)
        found = FoundModel("candidate", "", "")  # a calibration beside the starting weights is not of these
        predictor = KronosPredictor(model, self.tokenizer, device, max_context=bars, clip=self.clip, found=found)
        last = np.array(self.last)[:, None]
        found = predictor.predict_paths(
            self.contexts,
            self.stamps,
            self.futures,
            self.horizon,
            self.num_paths,
            T=T,
            top_p=top_p,
            seed=self.seeds,
        )
        paths = np.stack([one.paths[..., CLOSE] for one in found])
        return float(crps_loss(np.log(np.array(self.truth) / last), np.log(paths / last[:, None])).mean())


def select_weights(
    trainer: KronosTrainer,
    start: Weights | None,
    series: list[CandleSeries],
    data: DataArguments,
    tokenizer: KronosTokenizer,
) -> dict[str, object] | None:
    """Loads the candidate with the best validation forecasts into the trainer's model; on every rank.

    Args:
        trainer ([`KronosTrainer`]): after `train()`; holds the best checkpoint.
        start (`dict`, *optional*): the starting weights, on the CPU; None for random ones.
        series, data, tokenizer: of the run.

    Returns:
        `dict`: `candidates` (name to CRPS in basis points), `origins`, `paths` and `winner`; None for sharded weights,
        or where no validation origin can be forecast.
    """
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        echo("WARNING     select_by forecasts needs whole weights: best_model is the checkpoint with the best loss")
        return None
    run, model = Path(trainer.args.output_dir), trainer.accelerator.unwrap_model(trainer.model)
    best = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    best_name = Path(trainer.state.best_model_checkpoint or f"checkpoint-{trainer.state.global_step}").name
    kept = {path.name: path for path in list_checkpoints(run).values() if (path / WEIGHTS).is_file()}
    everything = list(candidates(start, best, best_name, kept))
    seen = trainer.state.global_step * trainer.effective_batch()
    most = affordable_origins(seen, data.lookback_window, max(data.predict_window, 1), len(everything))
    score = ForecastScore(series, data, tokenizer, most, trainer.args.seed)
    if not len(score):
        echo("WARNING     no validation origin can be forecast: best_model is the checkpoint with the best loss")
        return None
    progress = LineProgress(COMPARING) if trainer.is_world_process_zero() else None
    found: dict[str, float] = {}
    was_training = model.training
    try:
        for done, (name, weights) in enumerate(everything):
            model.load_state_dict(weights())
            found[name] = round(1e4 * score(model, trainer.args.device), 4)
            if progress is not None:
                progress(done + 1, len(everything))
    except ValueError as error:  # the training is over: it must not be lost
        model.load_state_dict(best)
        echo(f"WARNING     {error}: best_model is the checkpoint with the best loss")
        return None
    winner = min(found, key=found.__getitem__)
    model.load_state_dict(dict(everything)[winner]())
    model.train(was_training)
    others = ", ".join(f"{name} {found[name]:.2f} bp" for name in (START, best_name) if name in found)
    echo(f"selected    {winner}: validation CRPS {found[winner]:.2f} bp over {len(score)} origins ({others})")
    if winner == START:
        echo("WARNING     fine-tuning did not improve the forecasts: best_model has the starting weights")
    return {"candidates": found, "origins": len(score), "paths": PATHS, "winner": winner}
