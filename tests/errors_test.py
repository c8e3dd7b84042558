"""Errors for users: exit codes, and hints at the right name."""

import signal

import pytest

from seqmodels import errors


def test_exit_codes_tell_bad_input_from_a_run_that_cannot_go_on():
  assert errors.UserError("x").exit_code == 2
  assert errors.RunError("x").exit_code == 3
  assert issubclass(errors.RunError, errors.UserError)


def test_an_interruption_is_no_user_error_and_names_its_signal():
  error = errors.Interrupted(signal.SIGINT)
  assert not isinstance(error, errors.UserError)
  assert error.signum == 2
  assert str(error) == "interrupted by SIGINT"


@pytest.mark.parametrize(
  ("name", "choices", "hint"),
  [
    ("batchsize", ["batch_size", "seed"], " (did you mean 'batch_size'?)"),
    ("xyz", ["b", "a"], " (known: a, b)"),
    ("anything", [], ""),
  ],
)
def test_the_hint_names_what_is_near_or_else_all(name, choices, hint):
  assert errors.closest(name, choices) == hint


def test_several_near_names_are_all_given():
  hint = errors.closest("rate", ["rates", "rated", "momentum"])
  assert "'rates'" in hint
  assert "'rated'" in hint
  assert "momentum" not in hint


def test_whatever_a_message_quotes_it_is_one_line_of_bounded_length():
  hostile = "\x1b]0;title\x07\n\r\u2028\u202e\ud800\0 and café"
  sentence = str(errors.RunError(hostile))
  assert sentence.isprintable()
  assert sentence == ("\\x1b]0;title\\x07   \\u202e\\ud800\\x00 and café")
  long = str(errors.UserError("begins, " + "x" * 99_999 + ", do this"))
  assert len(long) <= errors.LONGEST
  assert long.startswith("begins, x")
  assert long.endswith("x, do this")
