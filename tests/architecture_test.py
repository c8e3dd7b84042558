"""The layers, read from the imports themselves.

WORKSPACE.md says which folder may import which; this test holds it.
"""

import ast
import collections
import fnmatch
import pathlib

import pytest

PROJECT = pathlib.Path(__file__).resolve().parent.parent
LONGEST_MAIN = 60

# Layer 0 is for everyone. "jax" and "numpy" are, too, but for the configs.
BOTTOM = {"seqmodels.errors", "seqmodels.units", "seqmodels.trees"}

# What each folder may import beside the standard library, itself and layer 0:
# folders of the library by their name, foreign packages by theirs.
ALLOWED: dict[str, set[str]] = {
  "cells": set(),
  "regularization": set(),
  "layers": {"seqmodels.cells", "seqmodels.regularization", "flax"},
  "models": {
    "seqmodels.layers",
    "seqmodels.cells",
    "seqmodels.losses",
    "seqmodels.mixture_density",
    "seqmodels.regularization",
    "flax",
  },
  "evaluation": {
    "seqmodels.models",
    "seqmodels.losses",
    "seqmodels.cells",
    "seqmodels.mixture_density",
    "optax",
  },
  "sampling": {
    "seqmodels.models",
    "seqmodels.losses",
    "seqmodels.cells",
    "seqmodels.mixture_density",
  },
  "compression": {
    "seqmodels.models",
    "seqmodels.losses",
    "seqmodels.cells",
    "optax",
    "constriction",
  },
  "training": {
    "seqmodels.models",
    "seqmodels.losses",
    "seqmodels.evaluation",
    "seqmodels.regularization",
    "optax",
  },
  "plotting": {"seqmodels.io", "matplotlib"},
  "data": {"seqmodels.io", "datasets", "fsspec", "aiohttp", "defusedxml"},
  "io": {"orbax", "tensorboardX", "tqdm"},
  "pretrained": set(),
}

# Modules beside the folders that are not for everyone.
BESIDE = {
  "losses": {"seqmodels.cells", "seqmodels.mixture_density"},
  "mixture_density": set(),
}

# Modules above all folders: they may import every one of them.
TOP = {"__init__", "portable", "trained", "trained_handwriting"}

# Foreign packages that only some modules of a folder may import.
ONLY_IN = {
  "optax": ["training/*", "evaluation/dynamic", "compression/*"],
  "constriction": ["compression/range_coder"],
  "datasets": ["data/files"],
  "fsspec": ["data/files"],
  "aiohttp": ["data/files"],
  "defusedxml": ["data/handwriting/iam_ondb"],
  "orbax": ["io/checkpoints", "io/distributed"],
  "matplotlib": ["plotting/style"],
  "safetensors": ["portable"],
}

# Foreign packages that are imported inside functions: importing the library
# must stay quick, and must work where they are missing.
LAZY = {"aiohttp", "datasets", "fsspec", "matplotlib", "torch", "nltk"}

# The settings object of the command line stops at the experiments.
NEVER_IN_LIBRARY = {"ml_collections", "absl", "experiments", "configs"}

STANDARD = __import__("sys").stdlib_module_names


def modules(folder: str) -> list[pathlib.Path]:
  return sorted((PROJECT / folder).rglob("*.py"))


def name_of(path: pathlib.Path) -> str:
  return path.relative_to(PROJECT).with_suffix("").as_posix()


LIBRARY = modules("seqmodels")
RUNNERS = modules("experiments") + modules("configs") + [PROJECT / "main.py"]


def imports(path: pathlib.Path) -> list[tuple[str, bool]]:
  """Every imported module in full, and whether at the module's top level."""
  tree = ast.parse(path.read_text(encoding="utf-8"))
  actual = []
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}: relative import"
      names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
      continue
    actual += [(name, node in tree.body) for name in names]
  return actual


def is_under(name: str, package: str) -> bool:
  return name == package or name.startswith(f"{package}.")


def root(name: str) -> str:
  return name.partition(".")[0]


def test_every_folder_of_the_library_has_its_rule():
  folders = {path.name for path in (PROJECT / "seqmodels").iterdir()}
  folders = {
    name for name in folders if (PROJECT / "seqmodels" / name).is_dir()
  }
  assert folders - {"__pycache__"} <= ALLOWED.keys()


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_a_module_of_the_library_imports_only_what_its_layer_may(path):
  parts = path.relative_to(PROJECT / "seqmodels").parts
  folder = parts[0] if len(parts) > 1 else ""
  allowed = {"jax", "numpy", *ALLOWED.get(folder, set()), *BOTTOM}
  if folder:
    allowed.add(f"seqmodels.{folder}")
  elif path.stem in TOP:
    allowed |= {"seqmodels", "safetensors"}
  else:
    allowed |= BESIDE.get(path.stem, set())
  for name, _ in imports(path):
    if root(name) in STANDARD:
      continue
    assert root(name) not in NEVER_IN_LIBRARY, f"{name_of(path)}: {name}"
    assert any(is_under(name, package) for package in allowed), (
      f"{name_of(path)} imports {name}; seqmodels/{folder} may import "
      f"{sorted(allowed)}"
    )


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_heavy_packages_stay_where_they_belong(path):
  place = path.relative_to(PROJECT / "seqmodels").with_suffix("").as_posix()
  for name, at_top in imports(path):
    for pattern in ONLY_IN.get(root(name), ["*"]):
      if fnmatch.fnmatch(place, pattern):
        break
    else:
      pytest.fail(f"{place} imports {name}; only {ONLY_IN[root(name)]} may")
    assert not (at_top and root(name) in LAZY), (
      f"{place} imports {name} when it is imported; do it in the function"
    )


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_the_library_knows_no_config_object(path):
  tree = ast.parse(path.read_text(encoding="utf-8"))
  names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
  names |= {
    node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
  }
  assert not names & {"ConfigDict", "FrozenConfigDict", "FLAGS"}


@pytest.mark.parametrize("path", modules("configs"), ids=name_of)
def test_a_config_imports_no_code_that_runs(path):
  allowed = ("ml_collections", "configs", "seqmodels.errors")
  for name, _ in imports(path):
    assert root(name) in STANDARD or any(
      is_under(name, package) for package in allowed
    ), f"{name_of(path)} imports {name}"


def test_main_only_hands_over():
  foreign = {
    root(name)
    for name, _ in imports(PROJECT / "main.py")
    if root(name) not in STANDARD
  }
  assert foreign <= {"absl", "experiments"}
  lines = (PROJECT / "main.py").read_text().splitlines()
  assert len(lines) <= LONGEST_MAIN


@pytest.mark.parametrize("path", LIBRARY + RUNNERS, ids=name_of)
def test_a_module_says_what_it_is(path):
  assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_every_test_of_the_library_stands_where_its_module_does():
  """tests/cells/ops_products_test.py is for seqmodels/cells/ops.py."""
  about_folders = {"contract", "golden"}
  for path in (PROJECT / "tests").rglob("*_test.py"):
    place = path.relative_to(PROJECT / "tests")
    if place.parts[0] not in ALLOWED:
      continue
    subject = place.name.removesuffix("_test.py")
    folder = PROJECT / "seqmodels" / place.parent
    assert subject in about_folders or any(
      subject == module.stem or subject.startswith(f"{module.stem}_")
      for module in folder.glob("*.py")
    ), f"{place} mirrors no module of {folder.relative_to(PROJECT)}"


def test_no_module_of_the_library_serves_the_studies_alone():
  """Code that only studies use belongs to the study that uses it."""
  users = collections.defaultdict(set)
  everyone = {name_of(path).replace("/", "."): path for path in LIBRARY}
  for path in LIBRARY + RUNNERS:
    for name, _ in imports(path):
      for module in (name, name.rpartition(".")[0]):
        users[module].add(name_of(path))
  for module in everyone:
    used = {user for user in users[module] if user not in {"configs", "main"}}
    assert not used or not all(
      user.startswith("experiments/studies/") for user in used
    ), f"only studies import {module}: {sorted(used)}"


def test_tests_are_no_package():
  assert list((PROJECT / "tests").rglob("__init__.py")) == []
