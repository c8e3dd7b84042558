"""Any text of yours: a UTF-8 or binary file, or a folder of them.

    python main.py --config=configs/text.py --config.data.path=FILE_OR_FOLDER

Characters by default; `--config.data.tokenizer=bytes` takes any file at all,
`--config.data.tokenizer=words` splits at white space. Of a folder,
`--config.data.files='*.py'` takes only the files that match. The first nine
tenths are trained on, a twentieth chooses the best weights, the last twentieth
is scored.

Variants: `smoke`.
"""

from ml_collections import config_dict

from configs import common


def get_config(arg: str = "") -> config_dict.ConfigDict:
  """Settings of a variant."""
  variants = common.parse(arg, ("smoke",))
  config = common.base()
  config.dtype = "auto"
  config.data.update(
    source="text", tokenizer="characters", partition="standard"
  )
  config.model.features = (512,)
  config.training.update(
    epochs=8.0,
    batch=16,
    segment=50,
    schedule="cosine",
    warmup_steps=100,
    clip_norm=1.0,
    steps_per_dispatch=16,
  )
  config.dynamic.update(search=True)
  if "smoke" in variants:
    common.smoke(config)
  return config
