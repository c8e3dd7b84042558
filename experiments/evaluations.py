"""The evaluations that end a language experiment, as result rows.

Each finished phase is kept in the run folder (`evaluations.json`), so that a run
which was stopped in the middle of a long dynamic evaluation does not begin the
others again.
"""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import config_dict

from experiments import assembly
from seqmodels import errors, units
from seqmodels.data import corpus, tokenizers, vocabulary
from seqmodels.evaluation import dynamic, dynamic_rules, search, static, totals
from seqmodels.io import atomic, interruption, plots, progress, report
from seqmodels.models import predictor as predictors
from seqmodels.sampling import text

PHASES = "evaluations.json"
CURVE_POINTS = 400


class Context(NamedTuple):
  """What every phase needs."""

  config: config_dict.ConfigDict
  workdir: pathlib.Path
  tokens: corpus.Tokens
  predictor: predictors.Predictor
  params: Any
  step: int  # of the parameters
  signals: interruption.Interruption


def phase(
  context: Context, name: str, compute: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
  """What `compute` gives, computed once in the life of a run folder.

  Args:
    context: of the run; phases of other parameters are forgotten.
    name: of the phase.
    compute: gives plain data that JSON can hold.
  """
  context.signals.check()
  path = context.workdir / PHASES
  known: dict[str, Any] = {"step": context.step, "phases": {}}
  if path.is_file():
    found = json.loads(path.read_text(encoding="utf-8"))
    if found.get("step") == context.step:
      known = found
  if name not in known["phases"]:
    known["phases"][name] = compute()
    atomic.write_json(path, known)
  return known["phases"][name]


def evaluated_splits(tokens: corpus.Tokens) -> list[str]:
  """The splits that were not trained on: valid, and test where there is one."""
  return [name for name in ("valid", "test") if name in tokens.splits]


def describe(context: Context) -> str:
  """The model and recipe in a few words, every deviation from the data named."""
  model, config = context.config.model, context.config
  widths = [str(width) for width in model.features]
  uniform = len(set(widths)) == 1
  size = f"{len(widths)}x{widths[0]}" if uniform else "-".join(widths)
  peepholes = " peephole" if model.cell == "lstm" and model.peepholes else ""
  name = f"{size}{peepholes} {model.cell}, {config.dtype} products"
  note = context.tokens.provenance["note"]
  return f"{name} ({note})" if note.startswith("prefix") else name


def static_phase(context: Context, split: str) -> dict[str, Any]:
  """Static evaluation of one split: one pass, weights fixed."""

  def compute() -> dict[str, Any]:
    settings = context.config.evaluation
    pieces = assembly.chunks(
      context.tokens,
      split,
      streams_count=settings.streams,
      length=settings.segment,
    )
    scores = static.score(
      context.predictor,
      context.params,
      pieces,
      streams=settings.streams,
      callback=watch(
        context,
        f"static evaluation, {split}",
        settings.streams * settings.segment,
      ),
    )
    return _record(scores, len(context.tokens.splits[split]))

  return phase(context, f"static {split}", compute)


def dynamic_phase(
  context: Context, split: str, chosen: Mapping[str, Any]
) -> dict[str, Any]:
  """Dynamic evaluation of one split, from the trained weights."""

  def compute() -> dict[str, Any]:
    segment = int(chosen["segment"])
    pieces = assembly.chunks(
      context.tokens, split, streams_count=1, length=segment
    )
    rule = make_rule(context, chosen)
    scores, _ = dynamic.score(
      context.predictor,
      context.params,
      pieces,
      rule,
      callback=watch(context, f"dynamic evaluation, {split}", segment),
    )
    return _record(scores, len(context.tokens.splits[split]))

  # Other settings are another phase.
  key = ", ".join(f"{name} {value}" for name, value in sorted(chosen.items()))
  return phase(context, f"dynamic {split}: {key}", compute)


def _record(scores: totals.Scores, expected: int) -> dict[str, Any]:
  """Totals and a curve, once it is sure that every symbol was scored."""
  found = scores.totals()
  if found.count != expected:
    raise errors.RunError(
      f"{found.count:,} symbols were scored where the split has {expected:,}; "
      "this is a fault of the program, please report it"
    )
  edges = np.unique(
    np.linspace(0, len(scores.nats), CURVE_POINTS, endpoint=False).astype(int)
  )
  return {
    "nats": found.nats,
    "count": found.count,
    "errors": found.errors,
    "seconds": found.seconds,
    "curve_nats": np.add.reduceat(scores.nats, edges, dtype=float).tolist(),
    "curve_counts": np.add.reduceat(scores.counts, edges).tolist(),
  }


def settings_of(context: Context) -> dict[str, Any]:
  """The dynamic rule and its settings as configured, without a search."""
  given = context.config.dynamic
  names = dynamic_rules.RULES[given.rule].defaults
  return {
    "rule": given.rule,
    "segment": given.segment,
    **{name: given[name] for name in names},
  }


def make_rule(context: Context, chosen: Mapping[str, Any]) -> Any:
  """The dynamic rule of some settings."""
  names = dynamic_rules.RULES[chosen["rule"]].defaults
  return dynamic_rules.make(
    chosen["rule"],
    context.params,
    {name: chosen[name] for name in names},
    statistics=statistics(context, chosen["rule"]),
  )


def statistics(context: Context, rule: str) -> Any:
  """Root mean squares of training gradients, for the rule `rms` alone."""
  if rule != "rms":
    return None
  given = context.config.dynamic
  length = context.config.training.segment
  pieces = assembly.chunks(
    context.tokens,
    "train",
    streams_count=given.statistics_streams,
    length=length,
    symbols=given.statistics_segments * given.statistics_streams * length,
  )
  return dynamic_rules.gradient_statistics(
    context.predictor,
    context.params,
    pieces,
    streams=given.statistics_streams,
  )


def search_phase(context: Context) -> dict[str, Any]:
  """Settings of dynamic evaluation, searched on the validation split.

  Returns:
    `rows`, one a setting after the static one, and `best`, the settings to use.
  """
  given = context.config.dynamic
  if not given.search:
    return {"rows": [], "best": settings_of(context)}

  def compute() -> dict[str, Any]:
    grid: dict[str, Any] = {"learning_rate": tuple(given.search_rates)}
    if given.rule == "rms":
      grid["decay"] = tuple(given.search_decays)
      grid["epsilon"] = (given.epsilon,)
    else:
      grid["momentum"] = tuple(given.search_momenta)
    measured = statistics(context, given.rule)
    rows: list[dict[str, Any]] = []
    for segment in given.search_segments:
      pieces = assembly.chunks(
        context.tokens,
        "valid",
        streams_count=1,
        length=segment,
        symbols=given.search_symbols,
      )
      found = search.search(
        context.predictor,
        context.params,
        pieces,
        given.rule,
        grid,
        statistics=measured,
        together=given.search_together,
        callback=watch(context, f"search, segments of {segment}", segment),
      )
      kept = found.rows if not rows else found.rows[1:]
      rows.extend({**row, "segment": segment} for row in kept)
    best = min(
      (row for row in rows if row["rule"] != "static"),
      key=lambda row: row["nats"] if np.isfinite(row["nats"]) else np.inf,
    )
    names = ("rule", "segment", *dynamic_rules.RULES[given.rule].defaults)
    return {
      "rows": [_finite(row) for row in rows],
      "best": {name: best[name] for name in names},
    }

  found = phase(context, f"search {given.rule}", compute)
  atomic.write_json(context.workdir / "dynamic_search.json", found)
  varied = ("learning_rate", "decay" if given.rule == "rms" else "momentum")
  plots.dynamic_search(
    found["rows"],
    context.workdir / "figures" / "dynamic_search.png",
    settings=("learning_rate", "segment", varied[1]),
  )
  return found


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
  """A diverged setting keeps its row; JSON knows no NaN."""
  return {
    key: None if isinstance(value, float) and not np.isfinite(value) else value
    for key, value in row.items()
  }


def watch(
  context: Context, title: str, per_segment: int
) -> Callable[[int, int | None], None]:
  """A callback of (done, all) segments: shows progress, obeys signals.

  Args:
    context: of the run.
    title: the phase, as shown.
    per_segment: symbols in a segment of all its streams.
  """
  bar = progress.Progress(None, title, unit="symbol", symbols="symbols")
  before = 0

  def callback(done: int, total: int | None) -> None:
    nonlocal before
    whole = None if total is None else total * per_segment
    new = (done - before) * per_segment
    bar.update(done * per_segment, symbols=new, total=whole)
    before = done
    if done == total:
      bar.close()
    context.signals.check()

  return callback


def rows_of(
  context: Context,
  split: str,
  evaluation: str,
  found: Mapping[str, Any],
  *,
  note: str = "",
) -> list[report.Row]:
  """The metric of the corpus and the error rate, with the paper's if it has."""
  unit = assembly.UNITS[context.config.data.tokenizer]
  name = describe(context) + (f"; {note}" if note else "")
  value = (
    units.perplexity(found["nats"], found["count"])
    if unit.metric == "perplexity"
    else units.bits_per_symbol(found["nats"], found["count"])
  )
  errors_percent = 100.0 * found["errors"] / found["count"]
  published = context.config.get("reference") or {}
  source = published.get("source", "")

  def row(metric: str, figure: float, key: str) -> report.Row:
    reference = published.get(f"{split}_{key}", 0.0) or None
    return report.row(
      name,
      split=split,
      evaluation=evaluation,
      metric=metric,
      value=figure,
      count=found["count"],
      seconds=found["seconds"],
      reference=reference,
      reference_source=source if reference else None,
    )

  return [
    row(unit.metric, value, evaluation),
    row("error_rate", errors_percent, f"{evaluation}_error_rate"),
  ]


def place(tree: Any) -> Any:
  """Parameters on the default device alone: evaluations run one stream."""
  return jax.device_put(tree, jax.devices()[0])


def sample_phase(context: Context) -> str:
  """Text from the trained network, after the configured prime."""
  given = context.config.sample
  if not given.length:
    return ""

  def compute() -> dict[str, Any]:
    return {
      "text": sampled_text(
        context.predictor,
        context.params,
        context.tokens.vocabulary,
        tokenizers.named(context.config.data.tokenizer),
        prime=given.prime,
        length=given.length,
        temperature=given.temperature,
        seed=context.config.seed,
      )
    }

  return str(phase(context, "sample", compute)["text"])


def sampled_text(
  predictor: predictors.Predictor,
  params: Any,
  symbols: vocabulary.Vocabulary,
  tokenizer: tokenizers.Tokenizer,
  *,
  prime: str,
  length: int,
  temperature: float,
  seed: int,
) -> str:
  """The prime and `length` symbols after it, as text.

  Args:
    predictor: the model.
    params: its weights.
    symbols: its vocabulary.
    tokenizer: what its symbols are.
    prime: text to go on from; empty starts from the null vector.
    length: symbols to draw.
    temperature: 1 draws from the model, 0 takes the likeliest.
    seed: equal seeds draw equal text.

  Raises:
    UserError: the prime holds symbols that the vocabulary does not.
  """
  pieces = tokenizer.split(np.frombuffer(prime.encode("utf-8"), np.uint8))
  # The word tokenizer ends every text with a line end, a prime has none.
  if len(pieces) and tokenizer.name == "words":
    pieces = pieces[:-1]
  ids = symbols.encode(pieces)
  drawn = text.sample(
    predictor,
    params,
    jax.random.key(seed),
    prime=ids,
    length=length,
    temperature=temperature,
  )
  whole = np.concatenate([ids, np.asarray(drawn).reshape(-1)])
  joined = tokenizer.join(symbols.decode(whole))
  if isinstance(joined, bytes):
    return joined.decode("utf-8", errors="replace")
  return joined


def static_and_dynamic(
  context: Context,
) -> tuple[list[report.Row], dict[str, dict[str, Any]]]:
  """Both evaluations of every split that was not trained on.

  Returns:
    The rows, and for figures the scores along each split by evaluation.
  """
  rows: list[report.Row] = []
  curves: dict[str, dict[str, Any]] = {}
  splits = evaluated_splits(context.tokens)
  for split in splits:
    found = static_phase(context, split)
    rows += rows_of(context, split, "static", found)
    curves[split] = {"static": found}
  if context.config.dynamic.rule:
    chosen = search_phase(context)["best"]
    note = ", ".join(
      f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
      for name, value in chosen.items()
    )
    for split in splits:
      found = dynamic_phase(context, split, chosen)
      rows += rows_of(context, split, "dynamic", found, note=note)
      curves[split]["dynamic"] = found
  return rows, curves
