"""How many examples a property is tried on: 60 at most in `make test`, all of them in `make test-faults`."""

from hypothesis import settings

SAMPLE, EVERYTHING = "sample", "everything"  # profiles

# the same examples on every run, and no deadline: a busy machine is no failure
settings.register_profile(SAMPLE, deadline=None, derandomize=True, max_examples=60)
settings.register_profile(EVERYTHING, deadline=None, derandomize=True)
settings.load_profile(SAMPLE)


def examples(number: int, sample: int = 60) -> settings:
    """So many examples, or at most `sample` in `make test`."""
    everything = settings.get_current_profile_name() == EVERYTHING
    return settings(max_examples=number if everything else min(number, sample))
