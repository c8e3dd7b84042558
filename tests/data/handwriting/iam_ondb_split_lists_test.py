"""Official lists: read, kept apart, held to what they are known to hold."""

import pytest

from seqmodels import errors
from seqmodels.data.handwriting import iam_ondb


def test_the_published_lists_add_up_to_graves_counts():
  lines = {name: entry.lines for name, entry in iam_ondb.LISTS.items()}
  train, valid = (iam_ondb.GRAVES[name] for name in ("train", "valid"))
  assert sum(lines[name] for name in train) == 10_741
  assert sum(lines[name] for name in valid) == 1_438
  assert sorted(train + valid) == sorted(lines)


def test_the_real_lists_are_the_published_ones(real_data):
  folder = real_data / "iamondb"
  if not folder.is_dir():
    pytest.skip(f"no IAM-OnDB in {real_data}")
  for name, published in iam_ondb.LISTS.items():
    forms = iam_ondb.forms_of(folder / f"{name}.txt")
    assert len(forms) == published.forms
    assert iam_ondb.digest(forms) == published.sha256


def test_forms_are_read_in_order_and_once(tmp_path):
  (tmp_path / "list.txt").write_bytes(b" a01-000u \r\n\n b02\n a01-000u")
  assert iam_ondb.forms_of(tmp_path / "list.txt") == ["a01-000u", "b02"]


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (b"", r"\(0 bytes\) should name a form"),
    (b"a01\n<html>", "but begins with '<html>'"),
    (b"../../etc", "should name a form"),
    (b"a" * 41, "should name a form"),
    (b"a\n" * 600_000, "1,048,577 bytes"),
  ],
)
def test_files_that_are_no_lists_are_refused(tmp_path, data, message):
  (tmp_path / "list.txt").write_bytes(data)
  with pytest.raises(errors.UserError, match=message):
    iam_ondb.forms_of(tmp_path / "list.txt")


def test_a_folder_is_no_list(tmp_path):
  with pytest.raises(errors.UserError, match="cannot read"):
    iam_ondb.forms_of(tmp_path)


def test_a_form_of_two_lists_is_refused():
  with pytest.raises(errors.UserError, match="form b is in the lists x and y"):
    iam_ondb.refuse_overlap({"x": ["a", "b"], "y": ["b"]})


def test_only_published_lists_must_have_their_lines(monkeypatch):
  forms = ["a", "b"]
  iam_ondb.check_lines("trainset", forms, 7)
  published = iam_ondb.Published(2, 8, iam_ondb.digest(forms))
  monkeypatch.setitem(iam_ondb.LISTS, "trainset", published)
  iam_ondb.check_lines("trainset", forms[::-1], 8)
  with pytest.raises(errors.UserError, match=r"7 lines were found .* has 8"):
    iam_ondb.check_lines("trainset", forms[::-1], 7)
