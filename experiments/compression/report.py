"""Rows, figures and report of a compressed file."""

import contextlib
import functools
import importlib
import pathlib
from collections.abc import Callable

import jax
import numpy as np
from ml_collections import config_dict

from experiments import page as page_lib
from experiments.compression import job as job_lib
from seqmodels import units
from seqmodels.compression import container
from seqmodels.evaluation import compressors
from seqmodels.io import metrics, results
from seqmodels.plotting import curves

TEMPLATE = pathlib.Path(__file__).with_name("page.md")
# Peers take a file whole, and minutes for one of this size.
_LARGEST_FOR_PEERS = 1 << 27
_ALONE = "alone (code length)"


def write(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  job: job_lib.Job,
  done: job_lib.Done,
  *,
  decoding: float | None,
  data: np.ndarray,
) -> list[results.Row]:
  """Writes the report of a compression; returns its rows.

  `decoding` are the seconds of the verification, None if there was none.
  """
  header = job.header
  coded = job.output.stat().st_size
  name = describe(header)
  rows = sizes(name, coded, header.size, done.seconds)
  if header.size:
    rows += speeds(name, header.size, done.seconds, decoding)
    rows += experts(job, done)
  others = {}
  if config.baselines and 0 < header.size <= _LARGEST_FOR_PEERS:
    for peer in compressors.sizes(data.tobytes(), using=peers()):
      rows += sizes(peer.name, peer.compressed_bytes, header.size, peer.seconds)
      others[peer.name] = peer.bits_per_symbol
  page = page_lib.Page(TEMPLATE, workdir)
  if header.size:
    draw(page, job, done, others)
  with metrics.MetricWriter(workdir) as writer:
    curve = job_lib.costs(header, done.curve)
    for number, (size, code) in enumerate(curve, start=1):
      writer.write(
        number, "file", {"bits_per_byte": 8 * code / size}, unit="bits/byte"
      )
  ideal = done.mixed / units.LOG2 / 8
  more = f" ({coded / ideal - 1:+.3%})" if ideal else ""
  page["input"] = config.input
  page["size"], page["coded"] = f"{header.size:,}", f"{coded:,}"
  page["excess"] = f"{coded - ideal:+,.0f}{more}"
  page["verification"] = (
    "decoded again and compared" if config.verify else "not decoded again"
  )
  page.facts(
    "facts",
    {
      "settings": ", ".join(
        f"{name} {value}" for name, value in vars(header.settings).items()
      ),
      "words": (
        f"codes for the most frequent, which leaves {header.held:,} bytes"
        if header.respelled
        else "spelled as they are"
      ),
      "device": jax.devices()[0].device_kind,
      "SHA-256": header.sha256,
    },
  )
  page.write(rows)
  return rows


def decoded(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  header: container.Header,
  done: job_lib.Done,
  coded: int,
) -> list[results.Row]:
  """Writes the report of a decompression of so many bytes; returns its rows."""
  rows = sizes(f"{describe(header)}; decoded", coded, header.size, done.seconds)
  page = page_lib.Page(TEMPLATE.with_name("decompressed.md"), workdir)
  page["input"], page["size"] = config.input, f"{header.size:,}"
  page.write(rows)
  return rows


def describe(header: container.Header) -> str:
  """Preset and experts in a few words."""
  settings = header.settings
  parts = []
  if header.weights:
    parts.append("a trained network")
  elif settings.layers:
    layers = "x".join(map(str, settings.layers))
    parts.append(f"{settings.cell.replace('_', '-')} of {layers}")
  if settings.contexts:
    parts.append(f"{len(settings.contexts)} contexts")
  if settings.match:
    parts.append("matches")
  if header.respelled:
    parts.append("words")
  return f"{header.preset}: {', '.join(parts)}"


_row = functools.partial(results.row, split="file", evaluation="compression")


def sizes(
  name: str, coded: int, size: int, seconds: float
) -> list[results.Row]:
  """Bytes, and bits a byte where there are any."""
  values = {"compressed_bytes": float(coded)}
  if size:
    nats = 8 * coded * units.LOG2
    values["bits_per_byte"] = units.bits_per_symbol(nats, size)
  return [
    _row(name, metric=metric, value=value, count=size, seconds=seconds)
    for metric, value in values.items()
  ]


def speeds(
  name: str, size: int, coding: float, decoding: float | None
) -> list[results.Row]:
  """Bytes a second, each way."""
  return [
    _row(
      f"{name}; {way}",
      metric="tokens_per_second",
      unit="bytes/s",
      value=size / seconds,
      count=size,
      seconds=seconds,
    )
    for way, seconds in (("coding", coding), ("decoding", decoding))
    if seconds
  ]


def experts(job: job_lib.Job, done: job_lib.Done) -> list[results.Row]:
  """The code length of the mixture, and of each of its inputs alone."""
  size = job.header.size
  names = [f"{name}, {_ALONE}" for name in job.model.inputs]
  return [
    _row(
      name,
      evaluation="prediction",
      metric="bits_per_byte",
      value=units.bits_per_symbol(nats, size),
      count=size,
      seconds=0.0,
    )
    for name, nats in zip(
      ["mixture (code length)", *names], [done.mixed, *done.alone], strict=True
    )
  ]


def draw(
  page: page_lib.Page,
  job: job_lib.Job,
  done: job_lib.Done,
  peers: dict[str, float],
) -> None:
  """Cost along the file, and by expert."""
  title = describe(job.header)
  cost = job_lib.costs(job.header, done.curve)
  curves.along_file(cost, page.figure("along_file"), peers=peers, title=title)
  curves.components(
    job.model.inputs,
    done.alone,
    done.share[:-1],
    page.figure("experts"),
    mixed=done.mixed,
    title=title,
  )


def peers() -> dict[str, Callable[[bytes], bytes]]:
  """Other compressors: zstd and brotli where their libraries are installed."""
  coders = dict(compressors.COMPRESSORS)
  with contextlib.suppress(ModuleNotFoundError):
    zstandard = importlib.import_module("zstandard")
    strongest = zstandard.ZstdCompressor(level=zstandard.MAX_COMPRESSION_LEVEL)
    coders[f"zstd -{zstandard.MAX_COMPRESSION_LEVEL}"] = strongest.compress
  with contextlib.suppress(ModuleNotFoundError):
    brotli = importlib.import_module("brotli")
    coders["brotli -11"] = brotli.compress
  return coders
