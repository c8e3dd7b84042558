"""Text sampled from a trained network."""

import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import config_dict

from experiments import page as page_lib
from experiments import restore, stages
from seqmodels import errors
from seqmodels.data.text import vocabulary
from seqmodels.io import distributed, files, results
from seqmodels.models import networks
from seqmodels.sampling import beam, text


class Decoding(NamedTuple):
  """Settings of decoding; by default symbols are drawn from the model as it is.

  Attributes:
    temperature: 1 draws from the model, 0 takes the likeliest.
    top_k: draw among so many of the likeliest; 0 leaves all.
    nucleus: draw among the likeliest that hold this share; 1 leaves all.
    beam: search with a beam of this width instead of drawing; 0 draws.
    length_penalty: of that search.
  """

  temperature: float = 1.0
  top_k: int = 0
  nucleus: float = 1.0
  beam: int = 0
  length_penalty: float = 0.75

  @classmethod
  def of(cls, sample: Mapping[str, Any]) -> "Decoding":
    """The one that `config.sample` names; older runs lack some keys.

    Raises:
      UserError: a beam search beside a setting of drawing.

    >>> Decoding.of({"temperature": 0.5, "length": 9}).temperature
    0.5
    """
    chosen = cls(**{key: sample[key] for key in cls._fields if key in sample})
    usual = cls()
    for key in ("temperature", "top_k", "nucleus"):
      value, default = getattr(chosen, key), getattr(usual, key)
      if chosen.beam and value != default:
        raise errors.UserError(
          f"config.sample.beam is {chosen.beam} and config.sample.{key} is "
          f"{value:g}; a beam search draws nothing, so leave {key} at "
          f"{default:g} or set beam to 0"
        )
    return chosen

  @property
  def words(self) -> str:
    """For a row's name.

    >>> Decoding(nucleus=0.9).words, Decoding(beam=4).words
    ('temperature 1, nucleus 0.9', 'beam of 4, length penalty 0.75')
    """
    if self.beam:
      return f"beam of {self.beam}, length penalty {self.length_penalty:g}"
    parts = [f"temperature {self.temperature:g}"]
    parts += [f"top-k {self.top_k}"] if self.top_k else []
    parts += [f"nucleus {self.nucleus:g}"] if self.nucleus != 1 else []
    return ", ".join(parts)


def sample_phase(context: stages.Context) -> str:
  """Text from the trained network, after the configured prime."""
  given = context.config.sample
  if not given.length:
    return ""

  def compute() -> dict[str, Any]:
    text, _ = sampled_text(
      context.model,
      context.params,
      context.data.vocabulary,
      vocabulary.named(context.config.data.tokenizer),
      prime=given.prime,
      length=given.length,
      decoding=Decoding.of(given),
      seed=context.config.seed,
      sentences=context.config.data.sentences,
    )
    return {"text": text}

  return str(stages.phase(context, "sample", compute)["text"])


def sampled_text(
  predictor: networks.SequenceModel,
  params: Any,
  symbols: vocabulary.Vocabulary,
  tokenizer: vocabulary.Tokenizer,
  *,
  prime: str,
  length: int,
  decoding: Decoding,
  seed: int,
  sentences: bool = False,
) -> tuple[str, int]:
  """The prime and at most `length` symbols after it, as text.

  Args:
    predictor: the model.
    params: its weights.
    symbols: its vocabulary.
    tokenizer: what its symbols are.
    prime: text to continue; empty starts from the null vector.
    length: symbols to draw; a beam search in single sentences may end sooner.
    decoding: how they are chosen.
    seed: equal seeds draw equal text; a search draws nothing.
    sentences: the model was trained with each line a sequence of its own.

  Returns:
    The text, and how many of its symbols are not the prime's.

  Raises:
    UserError: the prime holds symbols that the vocabulary does not.
  """
  given = tokenizer.prime(prime)
  ids = symbols.encode(given)
  unknown = [symbol for symbol in dict.fromkeys(given) if symbol not in symbols]
  if unknown:
    print(
      f"warning: the prime's {vocabulary.listing(unknown)} "
      f"{'is' if len(unknown) == 1 else 'are'} {vocabulary.UNKNOWN!r} to the "
      f"{symbols.size:,} symbols of this model",
      file=sys.stderr,
    )
  end = symbols.index[tokenizer.sentence_end] if sentences else None
  if decoding.beam:
    # A model of single sentences forgets at each end: what came before the last
    # one has no part in what follows.
    ends = np.flatnonzero(ids == end)
    best = beam.search(
      predictor,
      params,
      width=decoding.beam,
      length=length,
      prime=ids[ends[-1] + 1 if len(ends) else 0 :].tolist(),
      end=end,
      length_penalty=decoding.length_penalty,
    )[0]
    chosen = np.array(best.symbols, np.int32)
  else:
    temperature, logit_filters = text.of(
      decoding.temperature, decoding.top_k, decoding.nucleus
    )
    chosen = text.sample(
      predictor,
      params,
      jax.random.key(seed),
      prime=ids.tolist(),
      length=length,
      temperature=temperature,
      logit_filters=logit_filters,
      sentence_end=end,
    ).reshape(-1)
  joined = tokenizer.text(symbols.decode(np.concatenate([ids, chosen])))
  return joined, len(chosen)


TEMPLATE = pathlib.Path(__file__).with_name("sample.md")
# Weights that come with the package, used where none are named.
SHIPPED = "penn_char"


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[results.Row]:
  """Samples, prints and keeps the text in the run folder's `samples`.

  Args:
    config: `restore` names the run; `sample` says how.
    workdir: the run folder.
    data_dir: unused: a run folder is enough to sample from.

  Returns:
    One row: symbols drawn a second, compilation included.

  Raises:
    UserError: no such run, a prime that its vocabulary cannot spell, or a beam
      search beside settings of drawing.
  """
  del data_dir
  given = config.sample
  name = config.restore or f"the shipped {SHIPPED}"
  decoding = Decoding.of(given)
  with distributed.Interruption() as signals:
    trained = restore.reload(
      config.restore, dtype=config.dtype, shipped=SHIPPED
    )
    start = time.perf_counter()
    drawn, count = sampled_text(
      trained.model,
      trained.params,
      trained.symbols,
      vocabulary.named(trained.config.data.tokenizer),
      prime=given.prime,
      length=given.length,
      decoding=decoding,
      seed=config.seed,
      sentences=trained.config.data.sentences,
    )
    seconds = time.perf_counter() - start
    signals.check()
  keep_sample(workdir, drawn)
  print(results.printable(drawn))
  rows = [
    results.row(
      f"sample of {name}, {decoding.words}",
      split="none",
      evaluation="sampled",
      metric="tokens_per_second",
      value=count / seconds,
      count=count,
      seconds=seconds,
    )
  ]
  page = page_lib.Page(TEMPLATE, workdir)
  page["name"] = name
  page["decoding"] = decoding.words.capitalize()
  page["seed"], page["step"] = config.seed, f"{trained.step:,}"
  page["device"] = jax.devices()[0].device_kind
  page["sample"] = results.verbatim(drawn)
  page.write(rows)
  return rows


def keep_sample(workdir: pathlib.Path, sample: str) -> None:
  """Writes generated text to `samples/sample.txt`."""
  samples = workdir / "samples"
  samples.mkdir(exist_ok=True)
  files.write_text(samples / "sample.txt", sample)
