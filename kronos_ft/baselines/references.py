"""The references that a model has to beat: the default ones, and the best of them, chosen on the validation split.

A reference chosen on the test split would be the luckiest of several, and a model would be compared with that luck.
"""

from collections.abc import Mapping

import numpy as np

from ..scoring.scores import target_losses
from .bootstrap import VolatilityCone
from .forecaster import Forecaster
from .garch import Garch
from .naive import Drift, Persistence, SeasonalNaive
from .scaled import ScaledCone
from .statistical import MODELS, Statistical
from .volatility import Ewma, HarRv

REFERENCE_PATHS = 100
# what is judged: the target, and the loss by which forecasters are compared
JUDGED: Mapping[str, tuple[str, str]] = {
    "close": ("close", "crps"),
    "volatility": ("volatility", "qlike"),
    "probability up": ("close", "brier"),
    "range": ("range", "crps"),
    "volume": ("volume", "crps"),
}


def default_baselines(lookback: int, seed: int = 0, garch: bool = False, statistical: bool = False) -> list[Forecaster]:
    """Persistence, drift, seasonal naive, volatility cone, scaled cone, EWMA and HAR-RV.

    Args:
        lookback (`int`): bars of context.
        seed (`int`): seed of those that sample.
        garch (`bool`): add GARCH(1, 1), which needs the package `arch`.
        statistical (`bool`): add AutoETS and AutoTheta, which need the package `statsforecast`.

    Raises:
        ValueError: a package is missing.
    """
    shared = {"lookback": lookback, "num_paths": REFERENCE_PATHS, "seed": seed}
    spread = [kind(**shared) for kind in (VolatilityCone, ScaledCone, Ewma, HarRv)]
    found = [Persistence(), Drift(lookback=lookback), SeasonalNaive(), *spread]
    found += [Garch(seed=seed)] if garch else []
    return found + ([Statistical(name, **shared) for name in MODELS] if statistical else [])


def mean_losses(losses: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """Mean loss of a forecaster at the last horizon for each judged quantity; None where it is undefined.

    Volume: over the origins at which it is judged.

    Args:
        losses (`Mapping`): from [`~kronos_ft.scoring.scores.losses_of`].
    """
    found = {}
    for judged, (target, loss) in JUDGED.items():
        values = target_losses(losses, target).get(loss)
        last = np.empty(0) if values is None else values[:, -1]
        last = last[np.isfinite(last)] if target == "volume" else last
        found[judged] = float(last.mean()) if len(last) else None
    return found


def choose_references(
    num_paths: Mapping[str, int],
    validation: Mapping[str, Mapping[str, float | None]],
    test: Mapping[str, Mapping[str, float | None]],
) -> dict[str, dict]:
    """The best reference for each judged quantity, by its mean validation loss at the last horizon.

    For the close, only references with a distribution compete: a point forecast has a higher CRPS than most of them.

    Args:
        num_paths (`Mapping` of name to `int`): number of samples of each reference.
        validation, test (`Mapping` of name to losses): from [`mean_losses`]; without validation origins, the test split
            decides.

    Returns:
        `dict` of judged quantity to `name`, `target`, `loss`, `split` (on which it was chosen) and `losses` (by name).
        Quantities without a reference are absent.
    """
    found = {}
    for judged, (target, loss) in JUDGED.items():
        named = [name for name, number in num_paths.items() if number > 1 or judged != "close"]
        for split, means in (("validation", validation), ("test", test)):
            losses = {name: means[name][judged] for name in named if means[name][judged] is not None}
            if losses:
                best = min(losses, key=losses.__getitem__)
                found[judged] = {"name": best, "target": target, "loss": loss, "split": split, "losses": losses}
                break
    return found
