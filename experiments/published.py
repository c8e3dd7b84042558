"""Printed results of the papers, as data: Graves (2013), Tables 1 and 2.

Which line of a table a run belongs to is read from its settings alone: the
data, the network and the regularisation. How it was trained is another matter,
and is said beside it (`papers_training`).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

SOURCE_1 = "Graves 2013, Table 1"
SOURCE_2 = "Graves 2013, Table 2 (7x700, whole file)"


class Line(NamedTuple):
  """One line of Table 1: the Penn Treebank test set.

  Attributes:
    tokenizer: "characters" or "words".
    regularisation: "none", "weight noise" or "adaptive weight noise".
    evaluation: "static" or "dynamic".
    bits: a character.
    perplexity: a word.
    error_rate: wrong predictions of the next symbol, in percent.
    epochs: of training.
  """

  tokenizer: str
  regularisation: str
  evaluation: str
  bits: float
  perplexity: float
  error_rate: float
  epochs: int


TABLE_1 = (
  Line("characters", "none", "static", 1.32, 167, 28.5, 9),
  Line("characters", "none", "dynamic", 1.29, 148, 28.0, 9),
  Line("characters", "weight noise", "static", 1.27, 140, 27.4, 25),
  Line("characters", "weight noise", "dynamic", 1.24, 124, 26.9, 25),
  Line("characters", "adaptive weight noise", "static", 1.26, 133, 27.4, 26),
  Line("characters", "adaptive weight noise", "dynamic", 1.24, 122, 26.9, 26),
  Line("words", "none", "static", 1.27, 138, 77.8, 11),
  Line("words", "none", "dynamic", 1.25, 126, 76.9, 11),
  Line("words", "weight noise", "static", 1.25, 126, 76.9, 14),
  Line("words", "weight noise", "dynamic", 1.23, 117, 76.2, 14),
)

# Bits a byte by split and evaluation.
TABLE_2 = {
  ("train", "static"): 1.42,
  ("valid", "static"): 1.67,
  ("valid", "dynamic"): 1.33,
}

# What makes a run of a line of Table 1, and of Table 2.
COMMANDS = {
  ("characters", "none"): "--config=configs/penn_char.py "
  "--workdir=runs/penn_char",
  ("characters", "weight noise"): "--config=configs/penn_char.py:weight_noise "
  "--config.restore=runs/penn_char --workdir=runs/penn_char_weight_noise",
  ("characters", "adaptive weight noise"): "--config=configs/penn_char.py"
  ":adaptive_weight_noise --config.restore=runs/penn_char_weight_noise "
  "--workdir=runs/penn_char_adaptive",
  ("words", "none"): "--config=configs/penn_word.py --workdir=runs/penn_word",
  ("words", "weight noise"): "--config=configs/penn_word.py:weight_noise "
  "--config.restore=runs/penn_word --workdir=runs/penn_word_weight_noise",
  ("bytes", "none"): "--config=configs/enwik8.py:graves --workdir=runs/enwik8",
}

# Of the paper's weight noise, and of its adaptive kind at the start.
DEVIATION = 0.075

# The Penn Treebank's test split, line ends among the characters only.
TEST_CHARACTERS = 442_423
TEST_WORDS = 78_669
TEST_LINES = 3_761


def regularisation(config: Mapping[str, Any]) -> str:
  """The paper's name for it; "none" where all is off, "" for any other.

  Noise of another deviation, or with another weight on its complexity, is
  another regularisation.

  Args:
    config: of a run; those older than the section `regularization` lack it.
  """
  chosen = config.get("regularization") or {}
  on = {
    name
    for name, value in chosen.items()
    if name in ("weight_noise", "adaptive", "drop_connect")
    or name.startswith(("dropout", "zoneout"))
    if value
  }
  if any(
    chosen[name] != DEVIATION for name in on & {"weight_noise", "adaptive"}
  ):
    return ""
  if "adaptive" in on and chosen.get("complexity", 1.0) != 1.0:
    return ""
  return {
    frozenset(): "none",
    frozenset({"weight_noise"}): "weight noise",
    frozenset({"adaptive"}): "adaptive weight noise",
  }.get(frozenset(on), "")


def line_of(config: Mapping[str, Any]) -> tuple[str, str] | None:
  """The tokenizer and regularisation of the paper's net that a run is of.

  In Table 1 that is one layer of 1000 peephole LSTM cells between one-hot
  symbols and a softmax, on the whole Penn Treebank. Table 2 takes any stack of
  such layers on the partition `graves` of enwik8: its net of 7x700 is out of
  reach of most machines; a smaller one is listed with its size.

  Args:
    config: of a trained run.

  Returns:
    None for a run that is of no line.
  """
  data, model = config["data"], config["model"]
  kind = regularisation(config)
  if (
    model["cell"] != "lstm"
    or not model["peepholes"]
    or model.get("embedding")
    or data["limit"]
  ):
    return None
  if data["source"] == "enwik8":
    plain = kind == "none" and data["partition"] == "graves"
    return ("bytes", kind) if plain else None
  if data["source"] != "ptb" or list(model["features"]) != [1000]:
    return None
  key = (data["tokenizer"], kind)
  known = {(line.tokenizer, line.regularisation) for line in TABLE_1}
  return key if key in known else None


def perplexity(config: Mapping[str, Any], evaluation: str) -> float | None:
  """A word's on the test set for a character net regularised like this one."""
  for line in TABLE_1:
    if (line.tokenizer, line.regularisation, line.evaluation) == (
      "characters", regularisation(config), evaluation,
    ):  # fmt: skip
      return float(line.perplexity)
  return None


def papers_training(config: Mapping[str, Any]) -> bool:
  """True if a run was trained as the paper says, not by a faster recipe."""
  training, data = config["training"], config["data"]
  by_sentences = data["source"] == "ptb"
  return bool(
    training["optimizer"] == "sgd"
    and training["learning_rate"] == 1e-4
    and training["momentum"] == (0.99 if by_sentences else 0.9)
    and training["batch"] == 1
    and (training.get("sampling") == "sentences") == by_sentences
    and bool(data.get("sentences")) == by_sentences
    and bool(training.get("reset_every")) != by_sentences
    and config["model"]["gradient_clip"] == 1.0
    and not config["model"].get("cell_clip")
    and not training["max_steps"]
    and training.get("reduction", "mean") == "sum"
    and training["schedule"] == "constant"
    and not training["clip_norm"]
    and not training.get("average")
    and config["dtype"] == "float32"
  )
