"""Settings dataclasses of the commands, from which `options.json` is generated."""

from ft_core.sweep.arguments import SweepArguments

from ..evaluation.arguments import EvaluateArguments
from ..forecasting.arguments import CalibrateArguments, ForecastArguments
from ..training.quantile_arguments import STAGE_TYPES

JOINT: dict[str, tuple[str, ...]] = {"finetune": tuple(STAGE_TYPES)}  # takes the settings of these commands
COMMANDS: dict[str, tuple[type, ...]] = {
    **STAGE_TYPES,
    **{f"sweep {stage}": (SweepArguments, *types) for stage, types in STAGE_TYPES.items()},
    "forecast": (ForecastArguments,),
    "evaluate": (EvaluateArguments,),
    "calibrate": (CalibrateArguments,),
}
