"""What a page can forecast with: calibrated (a quantile head, or calibrated sampling), raw sampled paths, or both.

Notable:
- Raw paths are sampled with T=1, top_p=1 and top_k=0: the whole distribution of the predictor, as it was trained.
- A model without a quantile head and without calibrated sampling offers no choice: its sampling fields apply.
- The paths of a head are blocks of past bars, which no sampling setting changes, or paths of the predictor of its run.
"""

import copy
from dataclasses import dataclass

import torch

from ft_core.runs.folder import BEST_MODEL

from ..forecasting.direct import QuantilePredictor
from ..forecasting.networks import load_predictor
from ..forecasting.predictor import KronosPredictor
from ..models.found_model import FoundModel
from ..models.pairing import SAMPLING

CALIBRATED, RAW, BOTH, OWN = "calibrated", "raw", "both", "own"
BLOCKS, SAMPLED = "blocks", "sampled"
AnyPredictor = KronosPredictor | QuantilePredictor


@dataclass(frozen=True)
class Request:
    """One forecast of a visitor.

    Attributes:
        kind (`str`): calibrated, raw or own.
        predictor ([`KronosPredictor`] or [`QuantilePredictor`]): makes it.
        sampling (`dict`): `T`, `top_p` and `top_k` that differ from the predictor's own.
    """

    kind: str
    predictor: AnyPredictor
    sampling: dict[str, float]


def load_page_predictor(found: FoundModel, device: str | torch.device | None = None) -> tuple[AnyPredictor, str | None]:
    """Loads the networks of a page: a quantile head with the predictor of its run, if there is a finished one.

    Returns:
        the predictor, and a warning if the head has a predictor that cannot be used, else None.

    Raises:
        ValueError: as [`load_predictor`].
    """
    if not found.is_head or found.run is None or not (found.run / "predictor" / BEST_MODEL).is_dir():
        return load_predictor(found, device), None
    try:
        return load_predictor(found, device, paths="sampled"), None
    except ValueError as error:
        # the head may be the reason: then this raises again
        return load_predictor(found, device), f"the page has no sampled paths: {error}"


class ForecastKinds:
    """The forecasts that a page offers.

    Args:
        predictor ([`KronosPredictor`] or [`QuantilePredictor`]): of the page's model; the sampler of a head, if there
            is one, samples the raw paths.
    """

    def __init__(self, predictor: AnyPredictor):
        self.is_head = isinstance(predictor, QuantilePredictor)
        self.predictor = self._coupled = predictor
        self.sampler: KronosPredictor | None = predictor
        if self.is_head:
            self.sampler = predictor.sampler
            self.predictor = copy.copy(predictor)  # the same networks, with paths of blocks
            self.predictor.sampler = None

    @property
    def has_calibrated_sampling(self) -> bool:
        """Whether the predictor's own sampling settings differ from raw sampling."""
        return not self.is_head and self.predictor.sampling() != SAMPLING

    @property
    def has_sampled_paths(self) -> bool:
        """Whether the paths of a head can be sampled by a predictor."""
        return self.is_head and self.sampler is not None

    def kinds(self) -> tuple[str, ...]:
        """The kinds of forecasts to choose from, the default first; one if there is no choice."""
        if self.is_head:
            return (CALIBRATED, RAW, BOTH) if self.has_sampled_paths else (CALIBRATED,)
        return (CALIBRATED, RAW, BOTH, OWN) if self.has_calibrated_sampling else (OWN,)

    def levels(self) -> tuple[float, ...]:
        """The levels of the head's quantiles; empty for a predictor."""
        return tuple(self.predictor.model.config.quantile_levels) if self.is_head else ()

    def sampling_applies(self, kind: str, paths: str = BLOCKS) -> bool:
        """Whether the fields T and top_p have an effect.

        Args:
            kind (`str`): one of [`~ForecastKinds.kinds`].
            paths (`str`): what the paths of a head are made of, blocks or sampled.
        """
        if self.is_head:
            return kind != RAW and paths == SAMPLED
        return kind == OWN

    def requests(self, kind: str, paths: str, T: float, top_p: float) -> list[Request]:
        """The forecasts of a kind; two for both, the calibrated one first.

        Args:
            kind, paths: as for [`~ForecastKinds.sampling_applies`].
            T, top_p (`float`): the values of the page's fields, used where they apply.

        Raises:
            ValueError: a kind that the model does not offer, or sampled paths without a predictor.
        """
        if kind not in self.kinds():
            raise ValueError(f"kind={kind!r} is not known; use one of {', '.join(self.kinds())}")
        if paths not in ((BLOCKS, SAMPLED) if self.has_sampled_paths else (BLOCKS,)):
            raise ValueError(f"paths={paths!r} is not possible with this model; use {BLOCKS}")
        found = []
        if kind != RAW:
            chosen = {"T": T, "top_p": top_p} if self.sampling_applies(kind, paths) else {}
            predictor = self._coupled if self.is_head and paths == SAMPLED else self.predictor
            found.append(Request(OWN if kind == OWN else CALIBRATED, predictor, chosen))
        if kind in (RAW, BOTH):
            found.append(Request(RAW, self.sampler, dict(SAMPLING)))
        return found
