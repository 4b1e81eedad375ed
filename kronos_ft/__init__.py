"""kronos-ft: fine-tune the Kronos candlestick foundation model with the Hugging Face Trainer.

The names below are loaded on first use, so that `kronos-ft --help` answers without importing torch. The models are
registered with `AutoConfig` and `AutoModel` as soon as both this package and transformers are imported, in any order.
"""

import sys

TYPE_CHECKING = False  # of `typing`, which is not imported: Ctrl-C here would print a traceback

if TYPE_CHECKING:
    from .data.candles import CandleSeries, load_candles
    from .data.sources import load_sample
    from .evaluation.arguments import EvaluateArguments
    from .evaluation.report import terminal_text
    from .evaluation.run import run_evaluation
    from .forecasting.direct import QuantilePredictor
    from .forecasting.forecast import DirectQuantiles, Forecast
    from .forecasting.forecaster import KronosForecaster
    from .forecasting.predictor import KronosPredictor
    from .forecasting.series import describe_forecast, forecast_series
    from .models.configuration_kronos import KronosConfig, KronosTokenizerConfig
    from .models.modeling_kronos import Kronos, KronosTokenizer
    from .models.modeling_quantiles import KronosForQuantiles, KronosQuantilesConfig
    from .runs.finish import finish_run, summary_table
    from .training.arguments import KronosTokenizerArguments
    from .training.predictor_arguments import KronosArguments
    from .training.predictor_trainer import KronosTrainer
    from .training.quantile_arguments import KronosQuantileArguments
    from .training.quantile_trainer import KronosQuantileTrainer
    from .training.tokenizer_trainer import KronosTokenizerTrainer
    from .windows.augmentation import AugmentationArguments
    from .windows.dataset import WindowDataset, WindowShape
    from .windows.quantile_windows import QuantileWindowDataset
    from .windows.tokens import TokenWindowDataset

_HOMES = {
    "AugmentationArguments": ".windows.augmentation",
    "CandleSeries": ".data.candles",
    "DirectQuantiles": ".forecasting.forecast",
    "EvaluateArguments": ".evaluation.arguments",
    "Forecast": ".forecasting.forecast",
    "Kronos": ".models.modeling_kronos",
    "KronosArguments": ".training.predictor_arguments",
    "KronosConfig": ".models.configuration_kronos",
    "KronosForQuantiles": ".models.modeling_quantiles",
    "KronosForecaster": ".forecasting.forecaster",
    "KronosPredictor": ".forecasting.predictor",
    "KronosQuantileArguments": ".training.quantile_arguments",
    "KronosQuantileTrainer": ".training.quantile_trainer",
    "KronosQuantilesConfig": ".models.modeling_quantiles",
    "KronosTokenizer": ".models.modeling_kronos",
    "KronosTokenizerArguments": ".training.arguments",
    "KronosTokenizerConfig": ".models.configuration_kronos",
    "KronosTokenizerTrainer": ".training.tokenizer_trainer",
    "KronosTrainer": ".training.predictor_trainer",
    "QuantilePredictor": ".forecasting.direct",
    "QuantileWindowDataset": ".windows.quantile_windows",
    "TokenWindowDataset": ".windows.tokens",
    "WindowDataset": ".windows.dataset",
    "WindowShape": ".windows.dataset",
    "describe_forecast": ".forecasting.series",
    "finish_run": ".runs.finish",
    "forecast_series": ".forecasting.series",
    "load_candles": ".data.candles",
    "load_sample": ".data.sources",
    "run_evaluation": ".evaluation.run",
    "summary_table": ".runs.finish",
    "terminal_text": ".evaluation.report",
}
# a literal, which type checkers can read
__all__ = [
    "AugmentationArguments",
    "CandleSeries",
    "DirectQuantiles",
    "EvaluateArguments",
    "Forecast",
    "Kronos",
    "KronosArguments",
    "KronosConfig",
    "KronosForQuantiles",
    "KronosForecaster",
    "KronosPredictor",
    "KronosQuantileArguments",
    "KronosQuantileTrainer",
    "KronosQuantilesConfig",
    "KronosTokenizer",
    "KronosTokenizerArguments",
    "KronosTokenizerConfig",
    "KronosTokenizerTrainer",
    "KronosTrainer",
    "QuantilePredictor",
    "QuantileWindowDataset",
    "TokenWindowDataset",
    "WindowDataset",
    "WindowShape",
    "describe_forecast",
    "finish_run",
    "forecast_series",
    "load_candles",
    "load_sample",
    "run_evaluation",
    "summary_table",
    "terminal_text",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("kronos-ft")
    from importlib import import_module

    import_module("ft_core")  # before transformers, for notebooks
    if name not in _HOMES:
        raise AttributeError(f"module 'kronos_ft' has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name], __name__), name)
    _register_models()
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _register_models() -> None:
    """Registers all models with `AutoConfig` and `AutoModel`, once transformers is imported."""
    if "transformers" in sys.modules:
        from .models import modeling_quantiles


class _AfterTransformers:
    """An import hook that registers the models when transformers is imported after this package."""

    is_searching = False

    def find_spec(self, name: str, *where: object) -> object:
        if name != "transformers" or self.is_searching:
            return None
        from importlib.util import find_spec

        self.is_searching = True  # the other finders are asked
        try:
            spec = find_spec(name)
        finally:
            self.is_searching = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def and_register(module: object) -> None:
                sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
                execute(module)
                if not any(name.startswith("kronos_ft.models.") for name in sys.modules):  # else their import does
                    _register_models()

            spec.loader.exec_module = and_register
        return spec


if "transformers" in sys.modules:
    _register_models()
else:
    sys.meta_path.insert(0, _AfterTransformers())
