"""Dynamic evaluation of a trained run: Graves (2013), Krause et al. (2017).

    python main.py --config=configs/dynamic_evaluation.py:rms \\
        --config.restore=runs/penn_char --workdir=runs/penn_char_rms

`--config.restore` takes a run folder or a portable file (`configs/export.py`),
whose data must be there. Reloads the best weights, searches the rule's
settings on the validation split, scores validation and test statically and the
test dynamically. The run's folder is only read. Without `search` the settings
given are used; `--config.dynamic.rule=` leaves out the dynamic part:

    --config.dynamic.search=False --config.dynamic.learning_rate=0.003

`--config.data.path=FILE_OR_FOLDER` says where the run's text lies now, or names
any other one, which is cut into splits as the run's own and read in the run's
vocabulary; symbols that it lacks are named, and `<unk>` where it has one.
`--config.data.source=ptb` takes other published data.

Variants: `sgd` (the default; the paper's rule, momentum carried), `rms` (decay
towards the trained weights), `smoke`.

`rms` first takes the gradients of the whole training set, once a run: the work
of one epoch without its updates. Its search then tries 30 settings on segments
of 20 over the first 10,000 symbols, as many updates as a split of 300,000
symbols takes. Segments of 5, the published ones, can be a little better and
take four times as many updates: `--config.dynamic.search_segments=5,20`; rates
and decays are scaled with the length.
"""

from ml_collections import config_dict

from configs import common


def get_config(arg: str = "") -> config_dict.ConfigDict:
  """Settings of a variant."""
  variants = common.parse(arg, ("sgd", "rms", "smoke"))
  common.exclusive(variants, ("sgd", "rms"))
  shared = common.base()
  config = config_dict.ConfigDict(
    {
      "experiment": "dynamic_evaluation",
      "seed": 0,
      "restore": "",
      # Empty takes the trained run's own.
      "dtype": "",
      # Empty takes the trained run's own; a path alone is of source "text".
      "data": {"source": "", "path": "", "files": "", "partition": ""},
      "evaluation": shared.evaluation,
      "dynamic": shared.dynamic,
    }
  )
  config.evaluation.train_symbols = 0
  config.dynamic.search = True
  if "rms" in variants:
    config.dynamic.update(
      rule="rms",
      search_symbols=10_000,
      # Characters take the low end, words the high one.
      search_rates=(1e-4, 2e-4, 4e-4, 8e-4, 1.2e-3),
      search_decays=(1e-2, 3e-2, 6e-2),
      search_segments=(20,),
    )
  else:
    config.dynamic.update(
      rule="sgd",
      search_rates=(1e-3, 3e-3, 1e-2),
      search_momenta=(0.0, 0.5),
      search_segments=(20, 50),
    )
  if "smoke" in variants:
    config.evaluation.segment = 20
    common.smoke_dynamic(config)
  return config
