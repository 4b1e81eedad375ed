"""Augmentation of training windows: noise, feature dropout, time shift and scaling, reproducible draw by draw.

Notable:
- Every draw comes from a generator keyed by (seed, epoch, window), so neither the number of workers or ranks nor a
  resume changes anything.
- Only the model's input is changed. The reconstruction target stays the clean window; a time shift moves both, since it
  decides which bars are looked at.
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class AugmentationArguments:
    """Augmentation of training windows; each kind has its own switch and strength. Validation is never augmented."""

    augment_noise: bool = field(default=False, metadata={"help": "Add Gaussian noise to the normalised input."})
    noise_std: float = field(default=0.01, metadata={"help": "Noise's standard deviation, in units of the window's."})
    augment_feature_dropout: bool = field(
        default=False, metadata={"help": "Set whole features of a window to their mean (never all of them)."}
    )
    feature_dropout_p: float = field(default=0.1, metadata={"help": "Probability that a feature is dropped."})
    augment_time_shift: bool = field(default=False, metadata={"help": "Move a window by some bars within its split."})
    max_time_shift: int = field(default=2, metadata={"help": "Largest shift, in bars, to either side."})
    augment_scale: bool = field(default=False, metadata={"help": "Scale the normalised input by one factor a window."})
    scale_min: float = field(default=0.95, metadata={"help": "Smallest scale factor."})
    scale_max: float = field(default=1.05, metadata={"help": "Largest scale factor."})

    def __post_init__(self):
        if self.noise_std < 0:
            raise ValueError(f"noise_std={self.noise_std} is negative; use 0 or more")
        if not 0 <= self.feature_dropout_p < 1:
            raise ValueError(f"feature_dropout_p={self.feature_dropout_p} is outside [0, 1); choose a probability")
        if self.max_time_shift < 0:
            raise ValueError(f"max_time_shift={self.max_time_shift} is negative; use 0 or more bars")
        if not 0 < self.scale_min <= self.scale_max:
            raise ValueError(
                f"scale_min={self.scale_min} and scale_max={self.scale_max} do not satisfy 0 < scale_min <= scale_max; "
                "correct one of them"
            )

    @property
    def enabled(self) -> bool:
        """Whether any kind is switched on."""
        return self.augment_noise or self.augment_feature_dropout or self.augment_time_shift or self.augment_scale


class WindowAugmenter:
    """Draws the augmentation of each window from a generator of its own.

    Args:
        arguments ([`AugmentationArguments`]): switches and strengths.
        seed (`int`): first part of every generator's key.
    """

    def __init__(self, arguments: AugmentationArguments, seed: int):
        self.arguments = arguments
        self.seed = seed

    def generators(self, epoch: np.ndarray, window: np.ndarray) -> list[np.random.Generator]:
        """One generator a window, keyed by (seed, epoch, window); Philox is counter-based, so keys need no spacing."""
        return [
            np.random.Generator(np.random.Philox(key=[self.seed & (2**64 - 1), (int(e) << 40) | int(w)]))
            for e, w in zip(epoch, window, strict=True)
        ]

    def shifts(self, generators: list[np.random.Generator]) -> np.ndarray:
        """Bars by which each window moves, int64 of shape `(batch_size,)`. Drawn first."""
        if not self.arguments.augment_time_shift:
            return np.zeros(len(generators), dtype=np.int64)
        limit = self.arguments.max_time_shift
        return np.array([generator.integers(-limit, limit + 1) for generator in generators], dtype=np.int64)

    def distort(self, windows: np.ndarray, generators: list[np.random.Generator], clip: float) -> np.ndarray:
        """Noisy, scaled copy of clean normalised windows, clipped again.

        Args:
            windows (`np.ndarray` of float32, shape `(batch_size, window, num_features)`): clean windows; unchanged.
            generators: one a window, as [`~WindowAugmenter.shifts`] left them.
            clip (`float`): bound of the normalised values.
        """
        arguments = self.arguments
        result = windows.copy()
        for window, generator in zip(result, generators, strict=True):
            if arguments.augment_scale:
                window *= np.float32(generator.uniform(arguments.scale_min, arguments.scale_max))
            if arguments.augment_noise:
                window += np.float32(arguments.noise_std) * generator.standard_normal(window.shape, dtype=np.float32)
            if arguments.augment_feature_dropout:
                dropped = generator.random(window.shape[-1]) < arguments.feature_dropout_p
                if not dropped.all():
                    window[:, dropped] = 0.0
        return result.clip(-clip, clip, out=result)
