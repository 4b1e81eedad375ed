"""Settings dataclasses of the commands, from which `options.json` is generated."""

from ft_core.sweep.arguments import SweepArguments

from ..evaluation.arguments import EvaluateArguments
from ..forecasting.arguments import ForecastArguments
from ..training.arguments import DataArguments, KronosTokenizerArguments, ModelArguments
from ..training.predictor_arguments import KronosArguments, PredictorModelArguments
from ..windows.augmentation import AugmentationArguments

TOKENIZER = (ModelArguments, DataArguments, AugmentationArguments, KronosTokenizerArguments)
PREDICTOR = (PredictorModelArguments, DataArguments, AugmentationArguments, KronosArguments)
COMMANDS: dict[str, tuple[type, ...]] = {
    "tokenizer": TOKENIZER,
    "predictor": PREDICTOR,
    "sweep tokenizer": (SweepArguments, *TOKENIZER),
    "sweep predictor": (SweepArguments, *PREDICTOR),
    "forecast": (ForecastArguments,),
    "evaluate": (EvaluateArguments,),
}
