"""Tables 3 and 4 of a report: the paper's handwriting networks and ours."""

from collections.abc import Sequence

from ml_collections import config_dict

from configs import handwriting_prediction, handwriting_synthesis
from experiments import pen_scoring, report_tables, run_facts, run_folders
from seqmodels.io import report

TITLE = "Graves 2013, Tables 3 and 4: handwriting, validation lines"
NOTE = (
  "A line's nats are those of a density over standardised offsets: comparable "
  "only where offsets are standardised alike; lower is better. The paper does "
  "not say what its SSE is. Ours is half the squared error of the likeliest "
  "component's mean, probably the same: RNNLIB, the author's code, halves "
  "squared errors."
)

# Of the paper's networks, by their number of layers.
WIDTHS = {1: 900, 3: 400}
# Network, regularisation and half SSE by source and nats a line.
LINES = {
  (page.SOURCE, nats): (f"{name}, {layers} x {WIDTHS[layers]}", stage, half_sse)
  for name, page in (
    ("prediction", handwriting_prediction),
    ("synthesis", handwriting_synthesis),
  )
  for (layers, stage), (nats, half_sse) in page.TABLE.items()
}


def table(runs: Sequence[run_folders.Run]) -> str:
  """Every line of the two tables, with the best finished run on it.

  Args:
    runs: of handwriting; those on no line of the paper are passed over.
  """
  body = []
  for line, (network, stage, half_sse) in LINES.items():
    members = [run for run in runs if line_of(run) == line]
    best = min(
      (run for run in members if run.finished), key=_nats, default=None
    )
    state = report_tables.NOT_RUN
    if members:
      state = f"{members[0].name}: not finished"
    told = [state, "", "", "", ""]
    ours = squares = ""
    if best is not None:
      row = best.row("valid", "static", "half_sse")
      ours = report.figure(_nats(best))
      squares = report.figure(row["value"] if row else None)
      told = [
        best.name,
        str(best.rows[-1]["name"]).partition(";")[0],
        run_facts.hardware(best),
        run_facts.time(best),
        run_facts.commit(best),
      ]
    name = stage.replace("_", " ")
    body.append(
      [network, name, f"{line[1]:g}", ours, f"{half_sse:g}", squares, *told]
    )
  head = ["network", "regularisation", "nats a line, paper", "ours"]
  head += ["SSE, paper", "half SSE, ours", *report_tables.TOLD]
  return report.table(head, body)


def line_of(run: run_folders.Run) -> tuple[str, float] | None:
  """The line of the paper that a run's validation score may stand on."""
  config = config_dict.ConfigDict(run.config)
  found = pen_scoring.published(config, "valid")
  return (found["source"], found["nats_per_sequence"]) if found else None


def _nats(run: run_folders.Run) -> float:
  row = run.row("valid", "static", "nats_per_sequence")
  return float("inf") if row is None or row["value"] is None else row["value"]
