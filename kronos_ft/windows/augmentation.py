"""Augmentation of training windows: noise, feature dropout, time shift and scaling, all reproducible.

Notable:
- Each window has its own generator, keyed by (seed, epoch, window). The result does not depend on the number of workers
  or ranks, or on a resume.
- Only the model's input is augmented; the reconstruction target is the clean window. A time shift selects other bars,
  so it moves both.
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class AugmentationArguments:
    """Augmentation of training windows; each kind has a switch and a strength. Validation is never augmented."""

    augment_noise: bool = field(default=False, metadata={"help": "Add Gaussian noise to the normalised input."})
    noise_std: float = field(
        default=0.01, metadata={"help": "Standard deviation of the noise, relative to the window's."}
    )
    augment_feature_dropout: bool = field(
        default=False, metadata={"help": "Set random features of a window to their mean (never all features)."}
    )
    feature_dropout_p: float = field(default=0.1, metadata={"help": "Probability of dropping a feature."})
    augment_time_shift: bool = field(
        default=False, metadata={"help": "Shift windows by a random number of bars within their split."}
    )
    max_time_shift: int = field(default=2, metadata={"help": "Maximum shift in either direction, in bars."})
    augment_scale: bool = field(
        default=False, metadata={"help": "Multiply the normalised input by one random factor per window."}
    )
    scale_min: float = field(default=0.95, metadata={"help": "Minimum scale factor."})
    scale_max: float = field(default=1.05, metadata={"help": "Maximum scale factor."})

    def __post_init__(self):
        if self.noise_std < 0:
            raise ValueError(f"noise_std={self.noise_std} is negative; use 0 or more")
        if not 0 <= self.feature_dropout_p < 1:
            raise ValueError(f"feature_dropout_p={self.feature_dropout_p} is outside [0, 1); use e.g. 0.1")
        if self.max_time_shift < 0:
            raise ValueError(f"max_time_shift={self.max_time_shift} is negative; use 0 or more bars")
        if not 0 < self.scale_min <= self.scale_max:
            raise ValueError(
                f"scale_min={self.scale_min} and scale_max={self.scale_max} do not satisfy 0 < scale_min <= scale_max; "
                "correct one of them"
            )

    @property
    def enabled(self) -> bool:
        """Whether any augmentation is on."""
        return self.augment_noise or self.augment_feature_dropout or self.augment_time_shift or self.augment_scale


class WindowAugmenter:
    """Augments windows, each with its own random generator.

    Args:
        arguments ([`AugmentationArguments`]): switches and strengths.
        seed (`int`): first part of the generators' keys.
    """

    def __init__(self, arguments: AugmentationArguments, seed: int):
        self.arguments = arguments
        self.seed = seed

    def generators(self, epoch: np.ndarray, window: np.ndarray) -> list[np.random.Generator]:
        """One generator per window, keyed by (seed, epoch, window); Philox streams of close keys are independent."""
        return [
            np.random.Generator(np.random.Philox(key=[self.seed & (2**64 - 1), (int(e) << 40) | int(w)]))
            for e, w in zip(epoch, window, strict=True)
        ]

    def shifts(self, generators: list[np.random.Generator]) -> np.ndarray:
        """Random shift of each window in bars, int64 of shape `(batch_size,)`. Must be called before `distort`."""
        if not self.arguments.augment_time_shift:
            return np.zeros(len(generators), dtype=np.int64)
        limit = self.arguments.max_time_shift
        return np.array([generator.integers(-limit, limit + 1) for generator in generators], dtype=np.int64)

    def distort(self, windows: np.ndarray, generators: list[np.random.Generator], clip: float) -> np.ndarray:
        """Returns an augmented copy of clean normalised windows, clipped again.

        Args:
            windows (`np.ndarray` of float32, shape `(batch_size, window, num_features)`): clean windows; not modified.
            generators: one per window, after [`~WindowAugmenter.shifts`].
            clip (`float`): maximum absolute normalised value.
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
