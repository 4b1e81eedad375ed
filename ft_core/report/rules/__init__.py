"""The rules of the report that hold for every run, a file for each subject."""

from . import course, fit, learning_rate, length, model, schedule, steps

COMMON_RULES = (
    *(*course.RULES, *length.RULES, *fit.RULES, *learning_rate.RULES, *schedule.RULES),
    *(*steps.RULES, *model.RULES),
)
