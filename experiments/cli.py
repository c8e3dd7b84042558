"""The command line: flags, config file, exit codes.

    --config=FILE.py[:VARIANT,...]   the page; default configs/quickstart.py
    --config.a.b=VALUE               one setting of it
    --workdir=DIR                    default runs/<config>-<variant>
    --data_dir=DIR                   default $SEQMODELS_DATA, else
                                     ~/.cache/seqmodels
    --distributed                    join the other processes of this run

A page is looked for from the current folder first, then from the project's,
so the commands of the README work from anywhere.
"""

import ast
import difflib
import errno
import importlib.util
import inspect
import io
import os
import pathlib
import re
import shlex
import signal
import sys
import traceback
import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from absl import flags
from ml_collections import config_dict, config_flags

from configs import checks
from seqmodels import errors
from seqmodels.io import distributed

# Refusals of the operating system whose cause the user can remove.
_FIXABLE = {
  errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR,
  errno.ENAMETOOLONG,
}  # fmt: skip
_FULL = {errno.ENOSPC, errno.EDQUOT}

_MEMORY = "out of memory; a smaller network or input needs less"


_PEER = (
  "another process of this run is gone; what was saved stays, the same command "
  "in all of them resumes"
)
# Words of JAX's errors about a process that is gone.
_LOST = re.compile("Gloo|NCCL|heartbeat|coordination service", re.IGNORECASE)


class Stopped(KeyboardInterrupt):
  """A signal of `distributed.STOPS` that no experiment had a handler for."""

  def __init__(self, signum: int) -> None:
    self.signum = signal.Signals(signum)
    super().__init__(f"interrupted by {self.signum.name}")


def run_cli(action: Callable[[], Any]) -> int:
  """Runs `action`; what a user can cause becomes a sentence and an exit code.

  The signals of `distributed.STOPS` raise at once, unless the experiment has
  put a handler of its own that saves first. Any other exception passes with
  its traceback. What the terminal cannot show is replaced, and a standard
  stream that is closed is an empty one.

  One of several processes that fails ends at once, or JAX would have it wait
  for the others, and they wait for it.

  Returns:
    0; 2 for bad input; 3 for a run that cannot go on; 128 + the signal's
    number for an interruption.
  """
  _ready_streams()
  former = {
    signum: handler
    for signum in distributed.STOPS
    # A job in the background, or under nohup, ignores some of them.
    if (handler := signal.getsignal(signum)) not in (signal.SIG_IGN, None)
  }
  for signum in former:
    signal.signal(signum, _interrupt)
  # An interruption inside a callback of Python's own, such as JAX's in garbage
  # collection, is remembered like any other: nothing to report.
  report = sys.unraisablehook
  sys.unraisablehook = lambda event: (
    None if isinstance(event.exc_value, Stopped) else report(event)
  )
  try:
    return _sentenced(action)
  except Exception:
    if jax.distributed.is_initialized():
      traceback.print_exc()
    _leave(1)
    raise
  finally:
    for signum, handler in former.items():
      signal.signal(signum, handler)
    sys.unraisablehook = report
    distributed.remember(None)


def _leave(code: int) -> int:
  """Ends one of several processes; of one alone, gives the code back."""
  if jax.distributed.is_initialized():
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
  return code


def _sentenced(action: Callable[[], Any]) -> int:
  try:
    action()
  except errors.UserError as error:
    return _fail(f"error: {error}", error.exit_code)
  except errors.Interrupted as error:
    return _complain(
      f"{error}; the state is saved, the same command resumes",
      128 + error.signum,
    )
  except KeyboardInterrupt as error:
    signum = error.signum if isinstance(error, Stopped) else signal.SIGINT
    return _fail(
      f"interrupted by {signum.name}; what was saved stays, the same command "
      "resumes",
      128 + signum,
    )
  except MemoryError:
    return _fail(f"error: {_MEMORY}", 3)
  except BrokenPipeError:
    # The reader of the output has closed it (`| head`): be as quiet as other
    # tools, also when Python flushes the rest at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _leave(128 + signal.SIGPIPE)
  except OSError as error:
    if error.errno in _FULL:
      return _fail(f"error: {_os_sentence(error)}; free some space", 3)
    if error.errno in _FIXABLE:
      return _fail(f"error: {_os_sentence(error)}", 2)
    raise
  except (RuntimeError, ValueError) as error:
    # jaxlib reports an exhausted device or host, or a lost peer, this way.
    if errors.out_of_memory(error):
      return _fail(f"error: {_MEMORY}", 3)
    if _LOST.search(str(error)) and jax.distributed.is_initialized():
      return _fail(f"error: {_PEER}", 3)
    raise
  return 0


def _interrupt(signum: int, frame: types.FrameType | None) -> None:
  del frame
  # Raised inside a finalizer or a callback, Python would drop the exception;
  # the experiment then still learns of the signal when it begins.
  distributed.remember(signum)
  raise Stopped(signum)


def _ready_streams() -> None:
  """Makes the standard streams ones that a print never fails on."""
  for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
    stream = getattr(sys, name)
    if stream is None or stream.closed:
      empty = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115
      setattr(sys, name, empty)
    elif mode == "w" and isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors="replace")


def _os_sentence(error: OSError) -> str:
  where = f": {error.filename}" if error.filename else ""
  return f"{(error.strerror or str(error)).lower()}{where}"


def _fail(sentence: str, code: int) -> int:
  return _leave(_complain(sentence, code))


def _complain(sentence: str, code: int) -> int:
  sys.stdout.flush()
  print(" ".join(sentence.split()), file=sys.stderr, flush=True)
  return code


PROJECT = pathlib.Path(__file__).resolve().parent.parent
DEFAULT_CONFIG = "configs/quickstart.py"

_OVERRIDE = re.compile(r"--?(?:no)?config\.([^=]*)")
_CONFIG = re.compile(r"--?config(?:=(.*))?$")
_HELP = {"-h", "-help", "--help", "--helpshort", "--helpfull"}

_KINDS = {
  bool: "true or false",
  int: "a whole number",
  float: "a number",
  tuple: "a comma-separated list",
}


class Request(NamedTuple):
  """A parsed command line."""

  config: config_dict.ConfigDict
  workdir: pathlib.Path
  data_dir: pathlib.Path
  distributed: bool
  command: str


class Page(NamedTuple):
  """A config file, run."""

  config: config_dict.ConfigDict
  path: pathlib.Path
  variant: str
  notes: str


def parse(
  argv: Sequence[str], flag_values: flags.FlagValues = flags.FLAGS
) -> Request:
  """Reads the arguments, loads the page, applies and checks the overrides.

  Args:
    argv: the program's name and its arguments.
    flag_values: absl's registry, a fresh one in tests.

  Raises:
    UserError: arguments that are unknown, malformed or out of range.
  """
  name, rest = _split(_with_flagfiles(argv, flag_values))
  page = load(name)
  config = page.config
  if _HELP.intersection(rest):
    print(_usage(page, name))
    raise SystemExit(0)
  _check_overrides(rest[1:], config)
  rest = _lists_of_texts(rest, config)
  flags.DEFINE_string("workdir", "", "run folder", flag_values)
  flags.DEFINE_string("data_dir", "", "data folder", flag_values)
  flags.DEFINE_bool("distributed", False, "several processes", flag_values)
  try:
    config_flags.DEFINE_config_dict(
      "config", config, "settings", flag_values, sys_argv=rest
    )
    stray = flag_values(rest)[1:]
  except flags.UnrecognizedFlagError as error:
    name = error.flagname
    settings = [key for key, _ in checks.flatten(config)]
    hint = errors.closest(
      name, ("config", "workdir", "data_dir", "distributed")
    )
    if name in {key.rpartition(".")[2] for key in settings}:
      hint = _key_hint(name, [f"--config.{key}" for key in settings])
    raise errors.UserError(f"unknown flag --{name}{hint}") from None
  except (flags.Error, ValueError, TypeError) as error:
    raise errors.UserError(_flag_sentence(error, config)) from None
  if stray:
    hint = f"; write --config={stray[0]}" if ".py" in stray[0] else ""
    raise errors.UserError(
      f"unexpected argument {stray[0]!r}{hint or '; flags start with --'}"
    )
  run = "-".join([page.path.stem, *filter(None, page.variant.split(","))])
  return Request(
    config=flag_values.config,
    workdir=_folder(flag_values.workdir or f"runs/{run}"),
    data_dir=_folder(
      flag_values.data_dir
      or os.environ.get("SEQMODELS_DATA")
      or "~/.cache/seqmodels"
    ),
    distributed=flag_values.distributed,
    command=shlex.join(["python", *argv]),
  )


def load(page: str) -> Page:
  """Runs `FILE.py[:VARIANT]`.

  Raises:
    UserError: no such file, or it makes no ConfigDict.
  """
  # A folder may have a colon in its name.
  parts = re.fullmatch(r"(.*\.py)(?::(.*))?", page, re.DOTALL)
  name, variant = parts.groups(default="") if parts else (page, "")
  path = find(name)
  spec = importlib.util.spec_from_file_location("config_page", path)
  if spec is None or spec.loader is None:
    raise errors.UserError(f"config file {name!r} is not a Python file (.py)")
  module = importlib.util.module_from_spec(spec)
  sys.modules[spec.name] = module
  try:
    spec.loader.exec_module(module)
  except SyntaxError as error:
    raise errors.UserError(
      f"config file {name!r} line {error.lineno}: {error.msg}"
    ) from None
  if not callable(getattr(module, "get_config", None)):
    raise errors.UserError(f"config file {name!r} has no get_config(arg)")
  try:
    inspect.signature(module.get_config).bind(variant)
    arguments = [variant]
  except TypeError:
    arguments = []
  if variant and not arguments:
    raise errors.UserError(
      f"get_config of {name!r} takes no variant and --config has {variant!r}; "
      "leave it out"
    )
  config = module.get_config(*arguments)
  if not isinstance(config, config_dict.ConfigDict):
    raise errors.UserError(
      f"get_config of {name!r} returned a {type(config).__name__}; "
      "it must return a ConfigDict"
    )
  return Page(config, path, variant, (module.__doc__ or "").strip())


def find(name: str) -> pathlib.Path:
  """A config file, from the current folder or else from the project's."""
  for path in (_folder(name), PROJECT / name):
    if os.path.isfile(path):  # and no error where it cannot even be looked for
      return path
  pages = {
    f"configs/{path.name}": path
    for path in (PROJECT / "configs").glob("*.py")
    if path.stem not in ("__init__", "checks", "common")
  }
  near = difflib.get_close_matches(name, pages, n=1, cutoff=0.5)
  hint = f"; did you mean {near[0]!r}?" if near else ""
  raise errors.UserError(
    f"no config file {name!r} in {os.getcwd()} or in {PROJECT}{hint}"
  )


def _with_flagfiles(
  argv: Sequence[str], flag_values: flags.FlagValues
) -> list[str]:
  """The arguments with those of a `--flagfile` in its place."""
  try:
    return list(flag_values.read_flags_from_files(list(argv)))
  except flags.Error as error:
    sentence = _flag_sentence(error, config_dict.ConfigDict())
    raise errors.UserError(sentence) from None
  except ValueError as error:
    raise errors.UserError(f"the file of --flagfile is no text: {error}") from (
      None
    )


def _split(argv: Sequence[str]) -> tuple[str, list[str]]:
  """Takes the last `--config` out of `argv`, in both of its spellings."""
  page, rest = DEFAULT_CONFIG, []
  waiting = False
  for position, argument in enumerate(argv):
    match = _CONFIG.match(argument) if position else None
    if waiting:
      page, waiting = argument, False
    elif match and match.group(1) is None:
      waiting = True
    elif match:
      page = match.group(1)
    else:
      rest.append(argument)
  if waiting or not page:
    raise errors.UserError(
      "--config has no value; give a file such as configs/penn_char.py:smoke"
    )
  return page, rest


def _check_overrides(
  arguments: Sequence[str], config: config_dict.ConfigDict
) -> None:
  """Refuses unknown keys with a hint, before ml_collections sees them."""
  known = dict(checks.flatten(config))
  for argument in arguments:
    match = _OVERRIDE.match(argument)
    if not match or match.group(1) in known:
      continue
    key = match.group(1)
    members = [name for name in known if name.startswith(f"{key}.")]
    if members:
      raise errors.UserError(
        f"config.{key} is a group of keys; set one of them: "
        f"{', '.join(members)}"
      )
    raise errors.UserError(
      f"unknown config key {key!r}{_key_hint(key, list(known))}"
    )


def _lists_of_texts(
  arguments: Sequence[str], config: config_dict.ConfigDict
) -> list[str]:
  """Splits `a,b` where a list is meant; ml_collections would see one text."""
  lists = {key for key, value in checks.flatten(config) if type(value) is tuple}

  def written(text: str) -> str:
    try:
      ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
      inside = re.sub(r"^[(\[](.*)[)\]]$", r"\1", text.strip())
      names = inside.split(",") if inside else ()
      return repr(tuple(name.strip() for name in names))
    return text

  texts, waiting = [], False
  for argument in arguments:
    flag, equals, text = argument.partition("=")
    match = _OVERRIDE.fullmatch(flag)
    if waiting:
      argument, waiting = written(argument), False
    elif match and match[1] in lists:
      waiting = not equals
      argument = f"{flag}={written(text)}" if equals else flag
    texts.append(argument)
  return texts


def _key_hint(key: str, known: list[str]) -> str:
  """Near keys: the same last part in another group, else alike in spelling."""
  group, _, last = key.rpartition(".")
  near = [name for name in known if name.rpartition(".")[2] == last]
  near = near or difflib.get_close_matches(key, known, n=3, cutoff=0.6)
  if near:
    return f" (did you mean {' or '.join(map(repr, near))}?)"
  siblings = [name for name in known if name.startswith(f"{group}.")]
  if group and siblings:
    return f" (known in {group!r}: {', '.join(siblings)})"
  groups = dict.fromkeys(name.partition(".")[0] for name in known)
  return f" (known: {', '.join(groups)})"


def _flag_sentence(error: Exception, config: config_dict.ConfigDict) -> str:
  """The limit of a setting, if that is what absl complains of."""
  text = " ".join(str(error).split()).removeprefix("ERROR:: ")
  match = re.match(r"flag --config\.(\S+?)=(.*?): ", text)
  if match:
    key, value = match.groups()
    kind = type(dict(checks.flatten(config)).get(key))
    words = _KINDS.get(kind, f"a {kind.__name__}")
    return f"config.{key} is {value!r}; it must be {words}"
  return text[:1].lower() + text[1:]


def _folder(name: str) -> pathlib.Path:
  if "\0" in name:
    raise errors.UserError(
      f"{name!r} has a zero byte, which no folder's name may have"
    )
  try:
    name.encode("utf-8")
  except UnicodeEncodeError:
    raise errors.UserError(
      f"the name {name!r} is not UTF-8; rename it, or set the locale to one of "
      "UTF-8, such as LC_ALL=C.UTF-8"
    ) from None
  # Other than pathlib's, this leaves the name of an unknown user as it is.
  return pathlib.Path(os.path.expanduser(name))


def _usage(page: Page, name: str) -> str:
  """The flags, the page's own words, and its settings with their values."""
  settings = [
    f"    --config.{key}={value!r}"
    for key, value in checks.flatten(page.config)
  ]
  parts = [__doc__ or "", f"{name}:", page.notes, "\n".join(settings)]
  return "\n\n".join(part.strip("\n") for part in parts if part)
