"""Trying again: how long is waited, and when it ends."""

import time
from email.utils import formatdate

import pytest

from ft_core.io.retrying import LONGEST_WAIT, MayPass, retry_after, try_again


class Twice(MayPass):
    pass


def attempt(failures, waits=(1.0, 2.0)):
    """Fails as told, then succeeds; returns what was waited and said."""
    waited, said = [], []
    left = list(failures)

    def action():
        if left:
            raise left.pop(0)
        return "done"

    def failure_in(error):
        return error if isinstance(error, MayPass) else None

    assert try_again(action, failure_in, waits, waited.append, said.append) == "done"
    return waited, said


def test_waits_as_usual_or_as_asked():
    waited, said = attempt([MayPass("it broke"), MayPass("it is busy", 40.0)])
    assert waited == [1.0, 40.0]
    assert said == ["it broke; trying again in 1 s (1 of 2)", "it is busy; trying again in 40 s (2 of 2)"]


def test_a_server_that_asks_for_no_wait_is_not_asked_at_once():
    assert attempt([MayPass("busy", 0.0), MayPass("busy", 1.0)])[0] == [1.0, 2.0]


def test_ends_with_the_failure_it_had():
    with pytest.raises(Twice, match=r"^it broke, 3 times in a row$"):
        attempt([Twice("it broke") for _ in range(3)])
    with pytest.raises(MayPass, match=r"^busy and the server asks to wait 301 s$"):
        attempt([MayPass("busy", LONGEST_WAIT + 1)])
    with pytest.raises(KeyError):
        attempt([KeyError("of another kind")])


def test_what_a_header_asks_for():
    assert retry_after("17") == 17.0
    assert retry_after(formatdate(time.time() - 60, usegmt=True)) == 0.0
    assert 3000 < retry_after(formatdate(time.time() + 3600, usegmt=True)) <= 3600
    assert retry_after("") is None
    assert retry_after("\N{SUPERSCRIPT TWO}") is None
    assert retry_after("soon") is None
