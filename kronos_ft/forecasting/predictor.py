"""[`KronosPredictor`]: candles in, forecast paths out; a drop-in replacement for the published class.

Notable:
- `predict` and `predict_batch` have the published interface and return the published numbers: the mean over paths,
  without correction. `predict_paths` returns every path, projected onto valid candles.
- A context is normalised by its own mean and standard deviation: in float64 as in training, in `predict` and
  `predict_batch` in float32 as published, because other rounding would occasionally change a token.
- All paths of a series share the computed context, see `kronos_ft.forecasting.decoding`.

Shapes: L bars of context, H bars of horizon, F = 6 features.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ft_core.io.notebook import in_notebook
from ft_core.io.progress_lines import LineProgress

from ..models.found_model import FoundModel
from ..models.identity import weights_hash
from ..models.modeling_kronos import Kronos, KronosTokenizer
from .context import PRICES, Context, build_context, check_times, frame_values, stamps_of
from .decoding import Bars, Window, decode_paths, generate_tokens
from .feasible_candles import project_candles, spikes
from .forecast import Forecast
from .memory import check_memory
from .sampling import Sampler, SeededSampler

logger = logging.getLogger(__name__)

BATCH_ROWS = 1024
LEAST_PRICE = 0.01  # minimum price, relative to the context's lowest: paths of volatile markets may fall below zero


class KronosPredictor:
    """Forecasts candles with a [`Kronos`] model and its [`KronosTokenizer`].

    Args:
        model ([`Kronos`]), tokenizer ([`KronosTokenizer`]): set to evaluation mode and moved to `device`.
        device (`str` or `torch.device`, *optional*): defaults to the accelerator, or the CPU if there is none.
        max_context (`int`): maximum number of bars that the model sees (512; 2048 for Kronos-mini).
        clip (`float`): maximum absolute normalised value, in standard deviations.
        found ([`~kronos_ft.models.found_model.FoundModel`], *optional*): where the model was found; its trained window
            and sampling settings are the defaults of `forecast_series`. By default those of `forecaster.json` beside
            the weights.

    Raises:
        ValueError: a tokenizer with other bit sizes than the model, or settings out of range.

    Example:

    ```python
    predictor = KronosPredictor(Kronos.from_pretrained("NeoQuasar/Kronos-small"),
                                KronosTokenizer.from_pretrained("NeoQuasar/Kronos-Tokenizer-base"))
    mean = predictor.predict(df, x_timestamp, y_timestamp, pred_len=24, sample_count=30)
    ```

    Source: shiyu-coder/Kronos, `KronosPredictor`. Unlike upstream, this class switches to evaluation mode.
    """

    def __init__(
        self,
        model: Kronos,
        tokenizer: KronosTokenizer,
        device: str | torch.device | None = None,
        max_context: int = 512,
        clip: float = 5,
        found: FoundModel | None = None,
    ):
        for name in ("s1_bits", "s2_bits"):
            if getattr(model.config, name) != getattr(tokenizer.config, name):
                raise ValueError(
                    f"the model has {name}={getattr(model.config, name)}, but the tokenizer has "
                    f"{name}={getattr(tokenizer.config, name)}; pass the tokenizer that the model was trained with"
                )
        if not clip > 0:
            raise ValueError(f"clip={clip} is not positive; use e.g. 5")
        Window(max_context)
        if device is None:
            device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
        self.device = usable_device(device)
        self.model = model.to(self.device).eval()
        self.tokenizer = tokenizer.to(self.device).eval()
        self.max_context = max_context
        self.clip = clip
        name = getattr(model, "name_or_path", "") or "the model"
        self.found = found or FoundModel(name, name, "", forecaster=getattr(model, "forecaster", None) or {})
        if found is None and self.found.forecaster.get("predictor_sha256"):
            self.found.check_calibration(weights_hash(model))

    def __repr__(self) -> str:
        size = sum(one.numel() for one in self.model.parameters())
        sampling = ", ".join(f"{name}={value:g}" for name, value in self.sampling().items())
        return (
            f"{type(self).__name__} of {self.found.name}: {size:,} parameters on {self.device}\n"
            f"up to {self.max_context} bars of context, {sampling}"
        )

    def sampling(self, **asked: float | None) -> dict[str, float]:
        """`T`, `top_p` and `top_k`: as asked, else as calibrated, else the whole distribution."""
        return self.found.sampling(**asked)

    # The published interface

    def predict(
        self,
        df: pd.DataFrame,
        x_timestamp: pd.Series | pd.DatetimeIndex,
        y_timestamp: pd.Series | pd.DatetimeIndex,
        pred_len: int,
        T: float = 1.0,
        top_k: int | None = 0,
        top_p: float | None = 0.9,
        sample_count: int = 1,
        verbose: bool = True,
        **options,
    ) -> pd.DataFrame:
        """Forecasts one series and returns the mean over paths.

        Args:
            df (`pd.DataFrame`): open, high, low, close and, optionally, volume and amount.
            x_timestamp, y_timestamp: times of its rows, and of the future bars.
            pred_len (`int`): number of future bars.
            T (`float`): sampling temperature; 0 selects the most likely tokens.
            top_k (`int`): number of most likely tokens to sample from; 0 uses `top_p` instead.
            top_p (`float`): samples from the most likely tokens whose probabilities reach this sum.
            sample_count (`int`): paths to average.
            verbose (`bool`): show progress.
            options: `seed`, `generator`, `overflow`, `reprefill_every`, `project` as in
                [`~KronosPredictor.predict_paths`]; `project` is off by default, as published.

        Returns:
            `pd.DataFrame` with open, high, low, close, volume, amount, indexed by `y_timestamp`.

        Raises:
            ValueError: invalid input.
        """
        return self.predict_batch(
            [df], [x_timestamp], [y_timestamp], pred_len, T, top_k, top_p, sample_count, verbose, **options
        )[0]

    def predict_batch(
        self,
        df_list: Sequence[pd.DataFrame],
        x_timestamp_list: Sequence[pd.Series | pd.DatetimeIndex],
        y_timestamp_list: Sequence[pd.Series | pd.DatetimeIndex],
        pred_len: int,
        T: float = 1.0,
        top_k: int | None = 0,
        top_p: float | None = 0.9,
        sample_count: int = 1,
        verbose: bool = True,
        **options,
    ) -> list[pd.DataFrame]:
        """Like [`~KronosPredictor.predict`], for several series at once; they may differ in length."""
        lists = {"df_list": df_list, "x_timestamp_list": x_timestamp_list, "y_timestamp_list": y_timestamp_list}
        for name, values in lists.items():
            if not isinstance(values, list | tuple) or len(values) != len(df_list) or not len(values):
                raise ValueError(f"{name} must be a list with one entry per series ({len(df_list)}); correct it")
        candles, stamps, futures = [], [], []
        for position, df in enumerate(df_list):
            label = f"series {position}: " if len(df_list) > 1 else ""
            past, future = (pd.Series(list(one[position])) for one in (x_timestamp_list, y_timestamp_list))
            try:
                candles.append(frame_values(df))
                check_times(past, future, len(df), pred_len)
            except ValueError as error:
                raise ValueError(f"{label}{error}") from error
            stamps.append(stamps_of(past))
            futures.append(stamps_of(future))
        in_cell = LineProgress("forecast") if verbose and in_notebook() else None
        with tqdm(unit="bar", disable=not verbose or in_cell is not None) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            forecasts = self.predict_paths(
                candles,
                stamps,
                futures,
                pred_len,
                sample_count,
                T=T,
                top_k=top_k,
                top_p=top_p,
                progress=in_cell or show,
                **{"project": False, "published_scale": True, **options},
            )
        means = [forecast.mean(pd.Index(index)) for forecast, index in zip(forecasts, y_timestamp_list, strict=True)]
        if verbose and "project" not in options:
            _warn_of_invalid_candles(means)
        return means

    # Beyond it

    def predict_paths(
        self,
        candles: Sequence[np.ndarray],
        stamps: Sequence[np.ndarray],
        future_stamps: Sequence[np.ndarray],
        horizon: int,
        num_paths: int = 100,
        *,
        T: float = 1.0,
        top_k: int | None = 0,
        top_p: float | None = 1.0,
        seed: int | Sequence[int] | None = None,
        generator: torch.Generator | None = None,
        overflow: str = "exact",
        reprefill_every: int = 8,
        project: bool = True,
        published_scale: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Forecast]:
        """Forecasts several series and returns every path.

        Args:
            candles: one `np.ndarray` of shape `(L, 6)` per series, raw, in the order of `FEATURES`; L may differ.
            stamps, future_stamps: calendar features of shape `(L, 5)` and `(horizon, 5)`, see
                `kronos_ft.data.timestamps.calendar_features`.
            horizon (`int`): number of future bars.
            num_paths (`int`): paths per series.
            T, top_k, top_p: as in [`~KronosPredictor.predict`], but by default the whole distribution: top_p 0.9 cuts
                off its tails, and the prediction intervals become too narrow.
            seed (`int` or one per series, *optional*): makes paths depend only on (seed, series); a single number is
                combined with the position of each series. More paths with the same seed repeat the first ones.
            generator (`torch.Generator`, *optional*): used without a seed; defaults to torch's global generator.
            overflow, reprefill_every: method for context and horizon beyond `max_context`, see
                `kronos_ft.forecasting.decoding`.
            project (`bool`): project each bar onto the nearest valid candle.
            published_scale (`bool`): normalise as published (like `predict`) instead of as in training; the two differ
                for assets with prices below about 0.5.
            progress (*optional*): called with (steps done, total steps); a step is one bar of all series of a batch.

        Returns:
            `list` of [`Forecast`], one per series.

        Raises:
            ValueError: invalid input, or more paths than fit into memory.
        """
        if horizon < 1 or int(horizon) != horizon:
            raise ValueError(f"horizon={horizon} must be a whole number of bars; use 1 or more")
        if num_paths < 1:
            raise ValueError(f"num_paths={num_paths} is below 1; use 1 or more")
        window = Window(self.max_context, overflow, reprefill_every)
        sampling = {"temperature": T, "top_k": top_k, "top_p": top_p}
        Sampler(**sampling)
        contexts = [
            build_context(
                *one,
                horizon,
                self.clip,
                published_scale=published_scale,
                label=f"series {position}: " if len(candles) > 1 else "",
            )
            for position, one in enumerate(zip(candles, stamps, future_stamps, strict=True))
        ]
        longest = max(len(one.bars) for one in contexts)
        recomputes = overflow in ("exact", "reprefill") and not window.fits(min(longest, self.max_context), horizon)
        fitting = check_memory(self.model, self.tokenizer, self.device, num_paths, horizon, longest, recomputes)
        if seed is not None:
            seeds = [(seed, position) for position in range(len(contexts))] if np.isscalar(seed) else list(seed)
            if len(seeds) != len(contexts):
                raise ValueError(f"seed has {len(seeds)} numbers for {len(contexts)} series; pass one per series")
        if seed is None and len(contexts) * num_paths > fitting:
            raise ValueError(
                f"{len(contexts)} series x num_paths={num_paths} exceed the {fitting} paths that fit into memory; "
                "pass a seed (the series are then forecast in batches), or reduce num_paths"
            )
        at_once = max(1, min(BATCH_ROWS, fitting) // num_paths) if seed is not None else len(contexts)
        batches = self._batches(contexts, horizon, window, at_once)
        total, done, found = horizon * len(batches), 0, {}
        for batch in batches:
            sampler = Sampler(**sampling, generator=generator)
            if seed is not None:
                sampler = SeededSampler([seeds[position] for position in batch], num_paths, horizon, **sampling)
            step = (lambda bar, done=done: progress(done + bar, total)) if progress else None
            values = self._generate([contexts[position] for position in batch], num_paths, sampler, window, step)
            found |= dict(zip(batch, values, strict=True))
            done += horizon
        return [self._forecast(contexts[position], found[position], project) for position in range(len(contexts))]

    def _batches(self, contexts: list[Context], horizon: int, window: Window, at_once: int) -> list[list[int]]:
        """Groups the positions of series to generate together: all that fit into the window, the others by length."""
        groups: dict[int, list[int]] = {}
        for position, context in enumerate(contexts):
            bars = window.trimmed(len(context.bars), horizon)
            groups.setdefault(0 if bars + horizon <= self.max_context else bars, []).append(position)
        return [group[at : at + at_once] for group in groups.values() for at in range(0, len(group), at_once)]

    @torch.inference_mode()
    def _generate(
        self,
        contexts: list[Context],
        num_paths: int,
        sampler: Sampler,
        window: Window,
        progress: Callable[[int], None] | None,
    ) -> np.ndarray:
        """Normalised paths of several series, `(B, S, H, F)`."""
        horizon = len(contexts[0].future)
        with torch.autocast(self.device.type, enabled=False):  # half precision would change tokens
            tokens = [self._tokens(context) for context in contexts]
            keep = [window.trimmed(len(context.bars), horizon) for context in contexts]
            lengths = torch.tensor(keep, device=self.device)
            s1, s2, stamp = (
                _pad([values[-count:] for values, count in zip(one, keep, strict=True)])
                for one in zip(*tokens, strict=True)
            )
            future = torch.stack([torch.from_numpy(one.future.astype(np.int64)) for one in contexts]).to(self.device)
            found = generate_tokens(
                self.model, Bars(s1, s2, stamp), lengths, future, num_paths, sampler, window, progress
            )
            paths = decode_paths(self.tokenizer, (s1, s2), lengths, found, num_paths, self.max_context)
        return paths.float().cpu().numpy().reshape(len(contexts), num_paths, horizon, -1)

    def _tokens(self, context: Context) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Coarse tokens, fine tokens and stamps of a context."""
        s1, s2 = self.tokenizer.encode(torch.from_numpy(context.bars)[None].to(self.device), half=True)
        return s1[0], s2[0], torch.from_numpy(context.stamp.astype(np.int64)).to(self.device)

    def _forecast(self, context: Context, paths: np.ndarray, project: bool) -> Forecast:
        raw = (paths * context.scale + context.mean).astype(np.float64)
        positive, prices = raw.copy(), slice(0, len(PRICES))
        np.maximum(positive[..., prices], LEAST_PRICE * context.raw[:, prices].min(), out=positive[..., prices])
        projected, touched = project_candles(positive)
        touched |= (positive != raw).any(axis=-1)
        far = spikes(raw, context.raw)
        return Forecast(projected if project else raw, float(touched.mean()), float(far.mean()))


def usable_device(device: str | torch.device) -> torch.device:
    """Returns the device after creating a tensor on it.

    Raises:
        ValueError: an unknown or missing device.
    """
    try:
        return torch.empty(0, device=torch.device(device)).device
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without that device
        raise ValueError(
            f"device={str(device)!r} cannot be used ({str(error).splitlines()[0]}); use e.g. cpu"
        ) from error


def _warn_of_invalid_candles(means: list[pd.DataFrame]) -> None:
    """Warns how many bars of forecasts in the published form are not valid candles."""
    touched = np.concatenate([project_candles(mean.to_numpy())[1] for mean in means])
    if touched.any():
        logger.warning(
            f"{touched.sum()} of {len(touched)} forecast bars are not valid candles (high below the close, negative "
            "volume, ...), as in the published predictor; project=True corrects them, project=False hides this warning"
        )


def _pad(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
