"""[`KronosForecaster`]: a trained model with all that its forecasts need, found by one name.

```python
forecaster = KronosForecaster.from_pretrained("runs/btc")
forecast = forecaster.predict("btc.csv")
forecast.quantiles([0.05, 0.5, 0.95])
```
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from ..data.candles import CandleSeries, load_candles
from ..data.columns import match_columns
from ..data.sources import load_sample
from ..models.found_model import FoundModel, find_model
from .direct import QuantilePredictor
from .forecast import Forecast
from .networks import load_predictor, remarks_on
from .predictor import KronosPredictor
from .series import forecast_series

logger = logging.getLogger(__name__)

Candles = pd.DataFrame | CandleSeries | str | Path
Source = Candles | Sequence[Candles] | Mapping[str, Candles]


class KronosForecaster:
    """Forecasts candles with a predictor, its tokenizer, its trained window and its sampling settings.

    Args:
        predictor ([`KronosPredictor`]): model and tokenizer.

    Example:

    ```python
    forecaster = KronosForecaster.from_pretrained("runs/btc")  # a run of kronos-ft finetune
    forecast = forecaster.predict(df)  # open, high, low, close; times as a column or as the index
    forecast.quantiles([0.05, 0.5, 0.95])  # of the close, indexed by time
    ```
    """

    def __init__(self, predictor: KronosPredictor):
        self.predictor = predictor

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        tokenizer: str | Path | None = None,
        device: str | torch.device | None = None,
        max_context: int | None = None,
        paths: str = "blocks",
    ) -> "KronosForecaster":
        """Loads a model and finds its tokenizer, lookback, horizon and sampling settings.

        Args:
            name_or_path (`str` or `Path`): folder of `kronos-ft finetune` or `predictor`, model folder, Hub name (or
                NAME@REVISION), or mini, small, base.
            tokenizer (`str` or `Path`, *optional*): another tokenizer than the one that the model was trained with.
            device (`str` or `torch.device`, *optional*): defaults to the accelerator, or the CPU if there is none.
            max_context (`int`, *optional*): maximum number of bars that the model sees; by default that of the model.
            paths (`str`): what the paths of a quantile head are made of: `blocks` of past bars, or `sampled` by the
                predictor of its run; both get the distributions of the head.

        Raises:
            ValueError: nothing found, an unfinished run, an unknown tokenizer, networks that do not fit each other, or
                sampling settings that were calibrated for other weights.
            HubUnreachable: the Hub cannot be reached and the model is not in the cache.
        """
        found = find_model(str(name_or_path), None if tokenizer is None else str(tokenizer))
        predictor = load_predictor(found, device, max_context, paths=paths)
        for remark in remarks_on(found, predictor.tokenizer, found.lookback()):
            logger.warning(remark)
        return cls(predictor)

    @property
    def found(self) -> FoundModel:
        """Where the model was found, and what it was trained with."""
        return self.predictor.found

    @property
    def lookback(self) -> int:
        """Bars of context by default: those of the training windows, else 400."""
        return self.found.lookback()

    @property
    def horizon(self) -> int:
        """Bars to forecast by default: those of the training windows, else 24."""
        return self.found.horizon()

    @property
    def sampling(self) -> dict[str, float]:
        """`T`, `top_p` and `top_k` by default: as calibrated, else 1, 1 and 0."""
        return self.predictor.sampling()

    def __repr__(self) -> str:
        sampling = ", ".join(f"{name}={value:g}" for name, value in self.sampling.items())
        if isinstance(self.predictor, QuantilePredictor):
            sampling = f"quantile head, paths {'of past bars' if self.predictor.sampler is None else sampling}"
        named = "no tokenizer" if self.predictor.tokenizer is None else f"tokenizer {self.found.tokenizer or 'given'}"
        return (
            f"KronosForecaster of {self.found.name}: {named}\n"
            f"{self.lookback} bars of context, {self.horizon} bars ahead, {sampling}, on {self.predictor.device}"
        )

    def predict(
        self,
        data: Source,
        horizon: int | None = None,
        *,
        num_paths: int = 100,
        origin: str | None = None,
        seed: int = 42,
        lookback: int | None = None,
        policy: str = "error",
        timezone: str = "UTC",
        **options,
    ) -> Forecast | dict[str, Forecast]:
        """Forecasts the bars after the end of the candles, or after an earlier time.

        Args:
            data: candles of one series: a DataFrame with open, high, low, close and, optionally, volume and amount,
                whose times are a column or the index; a [`CandleSeries`]; a CSV or Parquet file; `sample` for the
                embedded candles. Or of several series: a list or a dict (symbol to candles) of these, a DataFrame with
                a symbol column, a folder or glob of files, or a file with several symbols.
            horizon (`int`, *optional*): bars to forecast; by default those of the training windows, else 24.
            num_paths (`int`): paths per series.
            origin (`str`, *optional*): UTC time of the first bar to forecast; hides this and all later bars.
            seed (`int`): the paths of a series depend only on (seed, symbol, time of its last known bar).
            lookback (`int`, *optional*): bars of context; by default those of the training windows, else 400.
            policy (`str`): what to do with defective rows, as in [`~kronos_ft.load_candles`].
            timezone (`str`): time zone of times without an offset.
            options: as for [`KronosPredictor.predict_paths`], such as `T` and `top_p`.

        Returns:
            [`Forecast`] of one series; of several, a `dict` of symbol to [`Forecast`]. Series of a list that have no
            symbol are named `0`, `1`, ... by their position.

        Raises:
            ValueError: defective candles, too few bars, times without a regular pattern, or settings out of range.
        """
        series, is_several = candle_series(data, policy, timezone)
        if lookback is not None and (remark := self.found.context_remark(lookback)):
            logger.warning(remark)
        found = forecast_series(
            self.predictor,
            series,
            horizon,
            lookback=lookback,
            num_paths=num_paths,
            origin=origin,
            seed=seed,
            **options,
        )
        return {one.series.symbol: one.forecast for one in found} if is_several else found[0].forecast


def _has_symbols(frame: pd.DataFrame) -> bool:
    try:
        return "symbol" in match_columns(
            [*frame.columns, *(["time"] if isinstance(frame.index, pd.DatetimeIndex) else [])]
        )
    except ValueError:  # not candles: reading them raises the error for the user
        return False


def candle_series(data: Source, policy: str = "error", timezone: str = "UTC") -> tuple[list[CandleSeries], bool]:
    """Candles in any form as series, and whether they were given as several.

    Args:
        data, policy, timezone: as for [`~KronosForecaster.predict`].

    Raises:
        ValueError: an empty list, a symbol that occurs twice, or as [`~kronos_ft.load_candles`].
    """
    if isinstance(data, CandleSeries):
        return [data], False
    if isinstance(data, pd.DataFrame):
        return load_candles(data, policy, timezone), _has_symbols(data)
    if isinstance(data, str | Path):
        found = load_sample() if str(data) == "sample" else load_candles(str(data), policy, timezone)
        is_glob = not Path(data).exists() and any(mark in str(data) for mark in "*?[")
        return found, len(found) > 1 or is_glob or Path(data).is_dir()
    if isinstance(data, Mapping):
        found = [one for symbol, part in data.items() for one in _named_series(str(symbol), part, policy, timezone)]
    elif isinstance(data, Sequence):
        found = []
        for position, part in enumerate(data):
            if isinstance(part, pd.DataFrame) and not _has_symbols(part):
                found += _named_series(str(position), part, policy, timezone)
            elif isinstance(part, pd.DataFrame | CandleSeries | str | Path):
                found += candle_series(part, policy, timezone)[0]
            else:
                raise ValueError(f"data[{position}] is a {type(part).__name__}, not candles; pass DataFrames or files")
    else:
        raise ValueError(
            f"data is a {type(data).__name__}, not candles; pass a DataFrame, a CandleSeries, a file, or a list of them"
        )
    if not found:
        raise ValueError("data contains no series; pass at least one")
    symbols = Counter(one.symbol for one in found)
    for symbol, count in symbols.items():
        if count > 1:
            raise ValueError(f"symbol {symbol} occurs {count} times; pass a dict of symbol to candles")
    return found, True


def _named_series(symbol: str, data: Candles, policy: str, timezone: str) -> list[CandleSeries]:
    """Candles under the name that the caller gave them."""
    if isinstance(data, CandleSeries):
        return [replace(data, symbol=symbol)]
    return load_candles({symbol: str(data) if isinstance(data, Path) else data}, policy, timezone)
