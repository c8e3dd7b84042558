"""Arguments in, one request or one sentence out."""

import pathlib

import pytest
from absl import flags

import experiments
from experiments import cli
from seqmodels import errors

PAGE = '''"""A page about counting."""

from configs import common


def get_config(arg=""):
  common.parse(arg, ("plain", "smoke"))
  config = common.base()
  config.experiment = "outside.counting"
  return config
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.delenv("SEQMODELS_DATA", raising=False)
  (tmp_path / "page.py").write_text(PAGE)
  return tmp_path


def parse(*arguments):
  return cli.parse(["main.py", *arguments], flags.FlagValues())


def refusal(*arguments):
  with pytest.raises(errors.UserError) as caught:
    parse(*arguments)
  return str(caught.value)


@pytest.mark.parametrize(
  ("given", "expected"),
  [
    ("layer", ("layer",)),
    ("layer,words", ("layer", "words")),
    ("2x1x8,3x1x8", ("2x1x8", "3x1x8")),
    ("2x1x8", ("2x1x8",)),
    ("('a,b', 'c')", ("a,b", "c")),
    ("layer, words", ("layer", "words")),
    ("[layer,words]", ("layer", "words")),
    ("", ()),
  ],
)
def test_texts_in_a_list_need_no_quotes(here, given, expected):
  (here / "texts.py").write_text(
    PAGE.replace(
      "return config",
      """\
config.names = ("one", "two")
  return config""",
    )
  )
  flag = "--config.names"
  for arguments in ([f"{flag}={given}"], [flag, given]):
    assert parse("--config=texts.py", *arguments).config.names == expected


def test_overrides_reach_the_locked_config(here):
  config = parse(
    "--config=page.py",
    "--config.seed=7",
    "--config.training.learning_rate=1",
    "--config.model.features=64,32",
    "--config.dynamic.search",
    "--noconfig.model.peepholes",
  ).config
  assert config.seed == 7
  assert config.training.learning_rate == 1.0
  assert isinstance(config.training.learning_rate, float)
  assert config.model.features == (64, 32)
  assert config.dynamic.search is True
  assert config.model.peepholes is False
  assert config.is_locked
  with pytest.raises(AttributeError):
    config.training.lerning_rate = 1.0


def test_a_single_number_is_a_tuple_of_one(here):
  config = parse("--config=page.py", "--config.model.features=64").config
  assert config.model.features == (64,)


def test_flags_may_be_spelt_and_ordered_in_every_way(here):
  request = parse(
    "-config.seed", "3", "--workdir", "w", "--config", "page.py:smoke"
  )
  assert request.config.seed == 3
  assert request.workdir == pathlib.Path("w")


def test_the_run_folder_is_named_after_page_and_variants(here):
  assert parse("--config=page.py").workdir == pathlib.Path("runs/page")
  request = parse("--config=page.py:plain,smoke")
  assert request.workdir == pathlib.Path("runs/page-plain-smoke")


def test_the_data_folder_is_flag_then_environment_then_cache(here, monkeypatch):
  home = pathlib.Path("~/.cache/seqmodels").expanduser()
  assert parse("--config=page.py").data_dir == home
  monkeypatch.setenv("SEQMODELS_DATA", "/data/a")
  assert parse("--config=page.py").data_dir == pathlib.Path("/data/a")
  request = parse("--config=page.py", "--data_dir=/data/b")
  assert request.data_dir == pathlib.Path("/data/b")


def test_a_page_is_found_from_here_before_the_project(here):
  (here / "configs").mkdir()
  (here / "configs" / "common.py").write_text(PAGE)
  actual = cli.find("configs/common.py")
  assert actual.resolve() == here / "configs" / "common.py"
  (here / "configs" / "common.py").unlink()
  actual = cli.find("configs/common.py")
  assert actual == cli.PROJECT / "configs" / "common.py"


def test_without_a_config_the_default_page_is_taken(here, monkeypatch):
  monkeypatch.setattr(cli, "DEFAULT_CONFIG", "page.py:smoke")
  request = parse("--config.seed=2")
  assert request.workdir == pathlib.Path("runs/page-smoke")
  assert request.config.seed == 2


def test_the_command_is_kept_as_it_was_typed(here):
  request = parse("--config=page.py", "--config.sample.prime=a b")
  assert request.command == (
    "python main.py --config=page.py '--config.sample.prime=a b'"
  )


@pytest.mark.parametrize(
  ("argument", "words"),
  [
    ("--config.model.feature=3", "'model.feature' (did you mean 'model.feat"),
    ("--config.features=3", "'features' (did you mean 'model.features'?)"),
    ("--config.data.zzz=3", "'data.zzz' (known in 'data': data.files, "),
    ("--config.zzzzzz=3", "'zzzzzz' (known: "),
    ("--noconfig.model.peephole", "'model.peephole' (did you mean "),
  ],
)
def test_an_unknown_key_is_answered_with_the_closest(here, argument, words):
  assert refusal("--config=page.py", argument).startswith(
    f"unknown config key {words}"
  )


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    (["--config.seed=1e3"], "config.seed is '1e3'; it must be a whole number"),
    (["--config.seed="], "config.seed is ''; it must be a whole number"),
    (["--config.training.momentum=x"], "momentum is 'x'; it must be a number"),
    (["--config.dynamic.search=9"], "search is '9'; it must be true or false"),
    (["--config.model=3"], "config.model is a group of keys; set one of"),
    (["--config.seed"], "missing value for flag --config.seed"),
    (["--workdir=caf\udce9"], r"'caf\udce9' is not UTF-8; rename it"),
    (["--seed=1"], "unknown flag --seed (did you mean '--config.seed'?)"),
    (["--batch=1"], "--batch (did you mean '--config.training.batch'?)"),
    (["--flagfile=none"], "unable to open flagfile"),
    (["--workdri=x"], "unknown flag --workdri (did you mean 'workdir'?)"),
    (["--config="], "--config has no value"),
    (["--config"], "--config has no value"),
    (["stray"], "unexpected argument 'stray'"),
    (["b.py:x"], "unexpected argument 'b.py:x'; write --config=b.py:x"),
    (["--distributed=perhaps"], "distributed"),
  ],
)
def test_what_cannot_be_meant_gets_one_sentence(here, arguments, words):
  sentence = refusal("--config=page.py", *arguments)
  assert words in sentence
  assert "\n" not in sentence
  assert "Traceback" not in sentence


@pytest.mark.parametrize(
  ("argument", "words"),
  [
    ("--config.model.features=a", "features is ('a',); it must be a comma"),
    ("--config.training.batch=0", "batch is 0; it must be a whole number,"),
  ],
)
def test_limits_are_checked_where_the_run_begins(here, argument, words):
  request = parse(
    "--config=page.py", argument, "--config.experiment=language_modelling"
  )
  with pytest.raises(errors.UserError) as caught:
    experiments.run(request.config, request.workdir, request.data_dir)
  assert words in str(caught.value)
  assert not request.workdir.exists()


def test_a_file_of_flags_is_read_like_the_command_line(here):
  (here / "flags").write_text(
    "--config=page.py\n--config.seed=3\n--workdir=w\n"
  )
  request = parse("--flagfile=flags", "--config.seed=4")
  assert request.config.seed == 4
  assert request.workdir == pathlib.Path("w")
  assert request.command == "python main.py --flagfile=flags --config.seed=4"


@pytest.mark.parametrize(
  ("content", "words"),
  [
    (b"--config.sede=3", "unknown config key 'sede' (did you mean 'seed' or"),
    (b"--nonsense=3", "unknown flag --nonsense"),
    (b"\xff", "the file of --flagfile is no text: "),
  ],
)
def test_a_bad_file_of_flags_gets_one_sentence(here, content, words):
  (here / "flags").write_bytes(content)
  assert refusal("--config=page.py", "--flagfile=flags").startswith(words)


def test_a_missing_page_is_answered_with_where_it_was_looked_for(here):
  sentence = refusal("--config=pages/no.py")
  assert "'pages/no.py'" in sentence
  assert str(here) in sentence
  assert str(cli.PROJECT) in sentence


def test_a_misspelt_page_is_answered_with_the_closest(here, monkeypatch):
  monkeypatch.setattr(cli, "PROJECT", here)
  (here / "configs").mkdir()
  (here / "configs" / "counting.py").write_text(PAGE)
  sentence = refusal("--config=configs/countin.py")
  assert sentence.endswith("did you mean 'configs/counting.py'?")


@pytest.mark.parametrize(
  ("name", "text", "words"),
  [
    ("bad.py", "def get_config(:", "'bad.py' line 1: "),
    ("bad.py", "x = 1", "'bad.py' has no get_config(arg)"),
    ("bad.py", "def get_config(arg): return {}", "returned a dict; it must"),
    ("bad.txt", "seed: 1", "'bad.txt' is not a Python file"),
  ],
)
def test_a_page_that_makes_no_config_is_refused(here, name, text, words):
  (here / name).write_text(text)
  assert words in refusal(f"--config={name}")


@pytest.mark.parametrize(
  "name",
  [
    "a:b/page.py",
    "my page.py",
    "-x.py",
    "p[1]*.py",
    "a.py.py",
    "\u00e9t\u00e9.py",
  ],
)
def test_a_page_may_have_any_name(here, name):
  (here / name).parent.mkdir(exist_ok=True)
  (here / name).write_text(PAGE)
  for given, folder in ((name, ""), (f"{name}:smoke", "-smoke")):
    request = parse(f"--config={given}", "--config.seed=5")
    assert request.config.seed == 5
    assert request.workdir.name == pathlib.Path(name).stem + folder


@pytest.mark.parametrize("signature", ["", "arg", "arg=None", "*args", "**kw"])
def test_a_page_may_take_no_variant(here, signature):
  page = PAGE.replace('arg=""', signature).replace("common.parse(arg", "(print")
  (here / "page.py").write_text(page)
  assert parse("--config=page.py").config.seed == 0
  if signature in ("", "**kw"):
    words = refusal("--config=page.py:smoke")
    assert words.startswith(
      "get_config of 'page.py' takes no variant and --con"
    )
  else:
    parse("--config=page.py:smoke")


def test_an_exception_inside_a_page_is_not_hidden(here):
  (here / "bad.py").write_text("def get_config(arg=''):\n  return 1 / 0\n")
  with pytest.raises(ZeroDivisionError):
    parse("--config=bad.py")


def test_help_shows_flags_notes_and_settings_and_ends(here, capsys):
  with pytest.raises(SystemExit) as caught:
    parse("--config=page.py", "--help")
  assert caught.value.code == 0
  shown = capsys.readouterr().out
  assert "--workdir=DIR" in shown
  assert "A page about counting." in shown
  assert "--config.training.batch=32" in shown
