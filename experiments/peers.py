"""Who takes part in the benchmark: the peers by the names of its settings."""

from ml_collections import config_dict

from experiments import (
  contest,
  cudnn_peer,
  flax_peer,
  nnx_peer,
  scan_peer,
  torch_peer,
)

NAMES = {
  "flax": flax_peer.NAME,
  "nnx": nnx_peer.NAME,
  "scan": scan_peer.NAME,
  "torch": torch_peer.NAME,
  "cudnn": cudnn_peer.NAME,
}
_REASONS = {"torch": torch_peer.missing, "cudnn": cudnn_peer.missing}


def setting(
  config: config_dict.ConfigDict,
) -> tuple[contest.Setting, list[str]]:
  """What all contests share; and why peers are left out, a line each."""
  absent = {
    name: _REASONS[name]() if name in _REASONS else "" for name in config.peers
  }
  found = contest.Setting(
    config.seed,
    tuple(config.precisions),
    tuple(name for name, reason in absent.items() if not reason),
  )
  return found, [f"{NAMES[n]}: {why}" for n, why in absent.items() if why]
