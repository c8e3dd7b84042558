"""Downloads over HTTP from this machine: checked, stored, never again."""

import dataclasses
import functools
import hashlib
import http.server
import pathlib
import socket
import threading
import zipfile
from typing import NamedTuple

import pytest

from seqmodels import errors
from seqmodels.data import files
from seqmodels.data.text import corpora
from seqmodels.data.text import tokens as tokens_lib

CONTENT = b" one two \n two three \n" * 500


class Server(NamedTuple):
  """A web server: where it is, what it serves, what it was asked."""

  url: str
  folder: pathlib.Path
  requests: list[str]
  stop: object


@pytest.fixture
def online(tmp_path, monkeypatch):
  """An environment that allows the network, and no proxy to this machine."""
  import datasets

  monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
  monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)
  # Read when `datasets` was imported, maybe by another test.
  monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
  cache = str(tmp_path / "cache")
  monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", cache)
  monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server(tmp_path, online):
  folder = tmp_path / "served"
  folder.mkdir()
  requests: list[str] = []

  class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
      pass

    def log_request(self, code="-", size="-"):
      requests.append(f"{self.command} {self.path}")

  handler = functools.partial(Handler, directory=str(folder))
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()

    def stop():
      httpd.shutdown()
      thread.join()
      httpd.server_close()

    url = f"http://127.0.0.1:{httpd.server_address[1]}"
    yield Server(url, folder, requests, stop)
    stop()


def publish(url, content=CONTENT, name="file.txt"):
  return files.Published(
    "set",
    name,
    f"{url}/{name}",
    len(content),
    hashlib.sha256(content).hexdigest(),
  )


def stored(data_dir):
  return sorted(
    str(path.relative_to(data_dir))
    for path in data_dir.rglob("*")
    if path.is_file()
  )


def test_a_missing_file_is_downloaded_once_and_then_read_offline(
  server, tmp_path
):
  (server.folder / "file.txt").write_bytes(CONTENT)
  published = publish(server.url)
  data_dir = tmp_path / "data"
  path = files.obtain(published, data_dir)
  assert path == data_dir / "set" / "file.txt"
  assert path.read_bytes() == CONTENT
  asked = len(server.requests)
  assert asked > 0
  server.stop()
  assert files.obtain(published, data_dir) == path
  assert len(server.requests) == asked
  assert stored(data_dir) == ["set/file.txt"]


def test_a_file_that_is_there_is_not_asked_for(server, tmp_path):
  published = publish(server.url)
  published.path(tmp_path).parent.mkdir()
  published.path(tmp_path).write_bytes(CONTENT)
  files.obtain(published, tmp_path)
  assert server.requests == []


@pytest.mark.parametrize(
  ("served", "message"),
  [
    (CONTENT[:-1], f"has {len(CONTENT) - 1:,} bytes where"),
    (CONTENT[::-1], "has SHA-256 .* where the published file.txt has"),
    (b"", "is empty"),
  ],
)
def test_wrong_bytes_are_refused_and_not_kept(
  server, tmp_path, served, message
):
  (server.folder / "file.txt").write_bytes(served)
  published = publish(server.url)
  with pytest.raises(errors.UserError, match=message):
    files.obtain(published, tmp_path / "data")
  assert not (tmp_path / "data").exists()
  # The right file, once it is served, is not hidden by the wrong one.
  (server.folder / "file.txt").write_bytes(CONTENT)
  path = files.obtain(published, tmp_path / "data")
  assert path.read_bytes() == CONTENT


def test_a_file_the_server_lacks_is_named_with_its_place(server, tmp_path):
  published = publish(server.url)
  with pytest.raises(errors.UserError) as caught:
    files.obtain(published, tmp_path / "data")
  message = str(caught.value)
  for part in (
    "missing file set/file.txt (download failed, FileNotFoundError: ",
    published.url,
    str(tmp_path / "data" / "set" / "file.txt"),
  ):
    assert part in message
  assert "\n" not in message


@pytest.mark.usefixtures("online")
def test_a_server_that_is_not_there_is_one_sentence(tmp_path):
  with socket.socket() as reserved:
    reserved.bind(("127.0.0.1", 0))  # bound, never listening: refused
    url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
    with pytest.raises(errors.UserError, match=r"missing file set/file\.txt"):
      files.obtain(publish(url), tmp_path / "data")
  assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"])
def test_the_environment_can_forbid_the_network(
  server, tmp_path, monkeypatch, name
):
  (server.folder / "file.txt").write_bytes(CONTENT)
  monkeypatch.setenv(name, "1")
  with pytest.raises(errors.UserError, match="the environment says offline"):
    files.obtain(publish(server.url), tmp_path)
  assert server.requests == []


def test_a_caller_can_forbid_the_network(server, tmp_path):
  with pytest.raises(errors.UserError, match="switched off"):
    files.obtain(publish(server.url), tmp_path, allowed=False)
  assert server.requests == []


def test_a_data_folder_that_cannot_be_made_is_refused(server, tmp_path):
  (server.folder / "file.txt").write_bytes(CONTENT)
  (tmp_path / "blocked").touch()
  with pytest.raises(errors.UserError, match=r"cannot write .*blocked"):
    files.obtain(publish(server.url), tmp_path / "blocked")


def test_a_file_another_process_stored_meanwhile_is_taken(
  online, tmp_path, monkeypatch
):
  published = publish("http://127.0.0.1:9")

  def lose_the_race(url):
    published.path(tmp_path).parent.mkdir()
    published.path(tmp_path).write_bytes(CONTENT)
    raise FileNotFoundError(url)

  monkeypatch.setattr(files, "_retrieve", lose_the_race)
  assert files.obtain(published, tmp_path).read_bytes() == CONTENT


def test_all_of_a_corpus_is_downloaded_then_read_offline(
  server, tmp_path, monkeypatch
):
  contents = {"train": CONTENT, "valid": CONTENT[:44], "test": CONTENT[:66]}
  table = {}
  for split, content in contents.items():
    published = publish(server.url, content, f"ptb.{split}.txt")
    (server.folder / published.name).write_bytes(content)
    table[split] = dataclasses.replace(published, folder="ptb")
  monkeypatch.setattr(corpora, "PENN_TREEBANK", table)
  first = corpora.load("ptb", tmp_path / "data")
  server.stop()
  again = corpora.load("ptb", tmp_path / "data")
  assert first.provenance == again.provenance
  assert first.parts["valid"].tobytes() == b"one two\ntwo three\n" * 2
  assert stored(tmp_path / "data") == [
    f"ptb/ptb.{split}.txt" for split in ("test", "train", "valid")
  ]


def test_an_archive_is_downloaded_checked_and_unpacked(
  server, tmp_path, monkeypatch
):
  path = server.folder / "enwik8.zip"
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("enwik8", CONTENT)
  monkeypatch.setattr(
    corpora,
    "ENWIK8",
    dataclasses.replace(publish(server.url), folder="enwik8", name="enwik8"),
  )
  published = publish(server.url, path.read_bytes(), "enwik8.zip")
  monkeypatch.setattr(
    corpora, "ENWIK8_ARCHIVE", dataclasses.replace(published, folder="enwik8")
  )
  monkeypatch.setattr(tokens_lib, "SIZES", {})
  tokens = tokens_lib.load_tokens(
    source="enwik8",
    tokenizer="bytes",
    partition="graves",
    data_dir=tmp_path / "data",
  )
  assert sum(map(len, tokens.splits.values())) == len(CONTENT)
  assert stored(tmp_path / "data") == ["enwik8/enwik8", "enwik8/enwik8.zip"]
