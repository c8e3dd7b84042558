"""Declared, locked and promised packages are those that the code imports."""

import ast
import importlib.util
import json
import pathlib
import re
import tomllib
from collections.abc import Iterable
from importlib import metadata

import pytest
from packaging import markers, requirements, utils, version

PROJECT = pathlib.Path(__file__).resolve().parent.parent
STANDARD = __import__("sys").stdlib_module_names
OURS = {"seqmodels", "experiments", "configs", "main", "tests"}

# Where a module's name does not lead to its distribution's.
DISTRIBUTIONS = {
  "absl": "absl-py",
  # One half of jax, which alone says the version that fits it.
  "jaxlib": "jax",
  "orbax": "orbax-checkpoint",
  "tensorboardX": "tensorboardx",
}

# The Pythons that the project speaks of, and those its users are likely on.
ENVIRONMENTS = [
  {
    "python_version": python,
    "python_full_version": f"{python}.1",
    "sys_platform": system,
    "platform_system": system.capitalize(),
    "platform_machine": machine,
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
  }
  for python in ("3.11", "3.12", "3.13")
  for system, machine in (
    ("linux", "x86_64"),
    ("linux", "aarch64"),
    ("darwin", "arm64"),
  )
]


@pytest.fixture(scope="module")
def project() -> dict:
  return tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))[
    "project"
  ]


def parsed(lines: Iterable[str]) -> dict[str, requirements.Requirement]:
  actual = {}
  for line in lines:
    requirement = requirements.Requirement(line)
    actual[utils.canonicalize_name(requirement.name)] = requirement
  return actual


def locked(environment: dict[str, str]) -> dict[str, str]:
  """The one version of each package that the lock names for an environment."""
  actual: dict[str, str] = {}
  text = (PROJECT / "requirements.lock").read_text("utf-8")
  for line in text.splitlines():
    if line.startswith("#") or not line.strip():
      continue
    requirement = requirements.Requirement(line)
    if requirement.marker and not requirement.marker.evaluate(environment):
      continue
    name = utils.canonicalize_name(requirement.name)
    assert name not in actual, f"{name} is locked twice for {environment}"
    (pin,) = requirement.specifier
    assert pin.operator == "=="
    actual[name] = pin.version
  return actual


def foreign_imports(folder: str) -> dict[str, set[str]]:
  """Third-party top-level modules, each with the files that import it."""
  top = PROJECT / folder
  actual: dict[str, set[str]] = {}
  for path in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
      names = []
      if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
      elif isinstance(node, ast.ImportFrom) and node.module:
        names = [node.module]
      elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("importorskip", "import_module")
        and isinstance(node.args[0], ast.Constant)
      ):
        names = [node.args[0].value]
      for name in names:
        root = name.partition(".")[0]
        if root not in STANDARD and root not in OURS:
          actual.setdefault(root, set()).add(str(path.relative_to(PROJECT)))
  return actual


def distribution(module: str) -> str:
  return utils.canonicalize_name(DISTRIBUTIONS.get(module, module))


@pytest.mark.parametrize(
  ("folder", "extras"),
  [
    ("seqmodels", []),
    ("configs", []),
    ("main.py", []),
    # Only the benchmark wants its peers, and only the tests theirs.
    ("experiments", ["bench"]),
    ("tests", ["test", "bench"]),
  ],
)
def test_every_imported_package_is_declared(project, folder, extras):
  declared = set(parsed(project["dependencies"]))
  for extra in extras:
    declared |= set(parsed(project["optional-dependencies"][extra]))
  for module, files in foreign_imports(folder).items():
    assert distribution(module) in declared, (
      f"{sorted(files)} import {module}, which pyproject.toml does not name"
    )


def test_every_declared_package_is_imported(project):
  """The programs of `test` are run, and jax imports its own numpy."""
  tools = {"pytest-timeout", "pytest-xdist", "ruff", "mypy"}
  modules: set[str] = set()
  for folder in ("seqmodels", "configs", "experiments", "tests", "main.py"):
    modules |= {distribution(name) for name in foreign_imports(folder)}
  declared = set(parsed(project["dependencies"]))
  for extra in ("test", "bench"):
    declared |= set(parsed(project["optional-dependencies"][extra]))
  assert declared - tools <= modules


def test_the_extras_are_the_five_promised(project):
  extras = project["optional-dependencies"]
  assert set(extras) == {"test", "bench", "gpu", "tpu", "k8s"}
  core = parsed(project["dependencies"])["jax"].specifier
  for extra, expected in (("gpu", "cuda13"), ("tpu", "tpu"), ("k8s", "k8s")):
    jax = parsed(extras[extra])["jax"]
    assert jax.extras == {expected}
    assert jax.specifier == core


def test_the_range_of_jax_holds_both_lines(project):
  """Python 3.11 ends at 0.10.2; a pin on either line shuts the other out."""
  expected = parsed(project["dependencies"])["jax"].specifier
  assert "0.10.2" in expected
  assert "0.12.0.1" in expected
  assert project["requires-python"] == ">=3.11"


@pytest.mark.parametrize(
  "environment",
  ENVIRONMENTS,
  ids=lambda e: "-".join(
    e[k] for k in ("python_version", "sys_platform", "platform_machine")
  ),
)
def test_the_lock_satisfies_every_range(project, environment):
  environment = {**markers.default_environment(), **environment}
  versions = locked(environment)
  asked = parsed(project["dependencies"])
  asked |= parsed(project["optional-dependencies"]["test"])
  for name, requirement in asked.items():
    assert name in versions, f"requirements.lock lacks {name}"
    assert version.Version(versions[name]) in requirement.specifier


def test_the_lock_holds_whatever_its_packages_require():
  """As far as this Python's installed packages tell: nothing is left out."""
  environment = {**markers.default_environment(), "extra": ""}
  versions = locked(environment)
  checked = 0
  for name, pin in versions.items():
    try:
      installed = metadata.distribution(name)
    except metadata.PackageNotFoundError:
      continue
    if installed.version != pin:
      continue
    for line in installed.requires or ():
      needed = requirements.Requirement(line)
      if needed.marker and not needed.marker.evaluate(environment):
        continue
      actual = versions.get(utils.canonicalize_name(needed.name))
      # setuptools comes with the environment for those that still ask for it.
      assert actual or needed.name == "setuptools", f"{name} needs {line}"
      if actual:
        assert needed.specifier.contains(actual, prereleases=True), (
          f"{name} needs {line}, the lock has {actual}"
        )
    checked += 1
  assert checked > 0


def test_the_lock_keeps_the_two_lines_of_jax_apart():
  environment = dict(markers.default_environment())
  lines = {}
  for python in ("3.11", "3.12"):
    environment |= {
      "python_version": python,
      "python_full_version": f"{python}.1",
    }
    lines[python] = version.Version(locked(environment)["jax"])
  assert lines["3.11"] == version.Version("0.10.2")
  assert lines["3.12"] > lines["3.11"]


def test_the_lock_can_be_read_on_any_machine():
  """No address, path or file of the machine that made it."""
  text = (PROJECT / "requirements.lock").read_text("utf-8")
  assert not re.search(r"://|file:|@ |^-|^/", text, flags=re.MULTILINE)


def test_the_readme_holds_the_two_fixed_commands():
  """Other people's scripts depend on them."""
  text = (PROJECT / "README.md").read_text("utf-8")
  commands = [line.strip().removeprefix("$ ") for line in text.splitlines()]
  assert "pip install -e . && python main.py" in commands
  assert "pip install -e '.[test]' && python -m pytest" in commands


def test_continuous_integration_runs_what_the_readme_says():
  script = (PROJECT / ".ci" / "run").read_text("utf-8")
  assert "pip install --quiet -e '.[test]'" in script
  assert re.search(r"^python -m pytest ", script, flags=re.MULTILINE)


def test_a_commit_is_checked_as_continuous_integration_checks():
  script = (PROJECT / ".ci" / "run").read_text("utf-8")
  checks = re.findall(r"^check (ruff check|ruff format|mypy)", script, re.M)
  assert checks == ["ruff check", "ruff format", "mypy"]
  hooks = (PROJECT / ".pre-commit-config.yaml").read_text("utf-8")
  entries = re.findall(r"entry: (.+)", hooks)
  assert len(entries) == len(checks)
  for entry, expected in zip(entries, checks, strict=True):
    assert entry.startswith(expected)
  # Of the environment, so of the project's versions, and without a network.
  assert hooks.count("language: system") == len(entries)
  assert "repo: http" not in hooks


def script(name):
  """A program of continuous integration, as a module."""
  spec = importlib.util.spec_from_file_location(
    name, PROJECT / ".ci" / f"{name}.py"
  )
  actual = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(actual)
  return actual


REPORT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest">
<testcase classname="tests.data.one_test" name="test_passes"/>
<testcase classname="tests.data.one_test" name="test_skips"><skipped
 type="pytest.skip" message="{reason}">place: {reason}</skipped></testcase>
</testsuite></testsuites>
"""


@pytest.mark.parametrize(
  ("reason", "tests"),
  [
    ("could not import 'torch': No module named 'torch'", []),
    (
      "no real data in /there; set SEQMODELS_DATA to its folder",
      ["tests.data.one_test::test_skips"],
    ),
  ],
)
def test_only_skips_for_want_of_data_are_counted(tmp_path, reason, tests):
  skipped = script("skipped")
  report = tmp_path / "tests.xml"
  report.write_text(REPORT.format(reason=reason), encoding="utf-8")
  assert skipped.for_want_of_data(str(report)) == tests


UNKNOWN = {"name": "flax", "skip_reason": "not found on PyPI"}
FINE = {"name": "numpy", "version": "2.4.6", "vulns": []}
BAD = {
  "name": "aiohttp",
  "version": "3.14.5",
  "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.14.6"]}, {"id": "PYSEC-2"}],
}


@pytest.mark.parametrize(
  ("packages", "said", "actual"),
  [
    (None, "not audited: pip-audit or its service is out of reach", []),
    ([UNKNOWN], "not audited: the index answers for none of 1 packages", []),
    ([UNKNOWN, FINE], "audited 1 of 2 packages", []),
    (
      [UNKNOWN, FINE, BAD],
      "audited 2 of 3 packages",
      [
        "aiohttp 3.14.5: PYSEC-1, fixed in 3.14.6",
        "aiohttp 3.14.5: PYSEC-2, fixed in no version yet",
      ],
    ),
  ],
)
def test_an_audit_says_of_how_many_packages_it_heard(
  tmp_path, packages, said, actual
):
  report = tmp_path / "audit.json"
  if packages is not None:
    report.write_text(json.dumps({"dependencies": packages, "fixes": []}))
  assert script("advisories").lines_of(str(report)) == ([said], actual)


def test_the_fixture_of_real_data_skips_with_the_sign_that_is_looked_for():
  source = (PROJECT / "tests" / "conftest.py").read_text("utf-8")
  reasons = [
    ast.unparse(node.args[0])
    for node in ast.walk(ast.parse(source))
    if isinstance(node, ast.Call)
    and isinstance(node.func, ast.Attribute)
    and node.func.attr == "skip"
  ]
  assert reasons
  assert all("SEQMODELS_DATA" in reason for reason in reasons)
