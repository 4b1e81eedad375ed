"""The rules of the report that hold for every run, a file for each subject."""

from .course import complete, saving, speed
from .fit import falling, improved, in_step, overfitting, steady
from .learning_rate import learning_rate
from .length import early_stopping, long_enough
from .model import fits_data, loss_suits, optimizer, precision, regularisation
from .schedule import schedule
from .steps import finite, gradients, weights

COMMON_RULES = (
    *(complete, saving, speed, early_stopping, long_enough, falling, improved, in_step, overfitting, steady),
    *(learning_rate, schedule, gradients, finite, weights),
    *(fits_data, loss_suits, optimizer, regularisation, precision),
)
