"""[`KronosForecaster`]: a trained model with all that its forecasts need, found by one name.

```python
forecaster = KronosForecaster.from_pretrained("runs/btc")
forecast = forecaster.predict("btc.csv")
forecast.quantiles([0.05, 0.5, 0.95])
```
"""

import logging
from pathlib import Path

import torch

from ..data.candles import CandleSeries
from ..data.columns import ColumnNames
from ..data.sources import Source, candle_series
from ..models.found_model import FoundModel, find_model
from .direct import QuantilePredictor
from .forecast import Forecast
from .networks import load_predictor, remarks_on
from .predictor import KronosPredictor
from .series import MANY_TOUCHED, forecast_series

logger = logging.getLogger(__name__)


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
        for remark in remarks_on(found, predictor.tokenizer, found.lookback(), found.horizon()):
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
        columns: ColumnNames | None = None,
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
            columns (`str` or `Mapping`, *optional*): names of columns that are not recognised, as in
                [`~kronos_ft.load_candles`].
            options: as for [`KronosPredictor.predict_paths`], such as `T` and `top_p`.

        Returns:
            [`Forecast`] of one series; of several, a `dict` of symbol to [`Forecast`]. Series of a list that have no
            symbol are named `0`, `1`, ... by their position.

        Raises:
            ValueError: defective candles, too few bars, times without a regular pattern, or settings out of range.
        """
        series, is_several = candle_series(data, policy, timezone, columns)
        if lookback is not None and (remark := self.found.context_remark(lookback)):
            logger.warning(remark)
        if horizon is not None and (remark := self.found.long_horizon_remark(horizon)):
            logger.warning(remark)
        if not isinstance(data, CandleSeries) and (remark := self.found.timezone_remark(timezone)):
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
        poor = [one for one in found if one.forecast.projected_share > MANY_TOUCHED]
        if poor:
            logger.warning(
                f"{poor[0].forecast.projected_share:.0%} of the bars forecast for {poor[0].series.symbol} are invalid "
                f"candles ({len(poor)} of {len(found)} series have many): the model does not fit these data well"
            )
        return {one.series.symbol: one.forecast for one in found} if is_several else found[0].forecast
