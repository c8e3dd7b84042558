"""Penn Treebank by characters: Graves (2013), section 3.1, Table 1.

    python main.py --config=configs/penn_char.py --workdir=runs/penn_char
    python main.py --config=configs/penn_char.py:weight_noise \\
        --config.restore=runs/penn_char --workdir=runs/penn_char_weight_noise
    python main.py --config=configs/penn_char.py:adaptive_weight_noise \\
        --config.restore=runs/penn_char_weight_noise \\
        --workdir=runs/penn_char_adaptive

One layer of 1000 peephole LSTM cells, one-hot characters in, softmax out. The
test rows of Table 1, in bits per character (error rate in percent):

    regularisation           static         dynamic
    none                     1.32 (28.5)    1.29 (28.0)
    weight noise             1.27 (27.4)    1.24 (26.9)
    adaptive weight noise    1.26 (27.4)    1.24 (26.9)

What came out here, and how long it took, is in RESULTS.md.

Variants:
 - `plain` (the default), stops early as the next;
 - `weight_noise`: noise of deviation 0.075 on all weights, stops early;
 - `adaptive_weight_noise`: a deviation learned for every weight, from 0.075;
   two epochs at a low rate, validated every quarter of one, since at full
   price the complexity soon costs more than it gains on validation;
 - `minimum`, with `adaptive_weight_noise`: six epochs towards the minimum of
   the description length, and the weights where it is shortest, whatever
   validation says;
 - `dropout`: no network of the paper's: two layers of 1000 with layer
   normalisation (12.5 million weights), dropout, DropConnect, and dynamic
   evaluation by the RMS rule;
 - `zoneout`: one layer of 1000 without peepholes, as Krueger et al. (2017,
   "Zoneout", test 1.252): zoneout of 0.5 on cells and 0.05 on outputs, segments
   of 100, Adam at 2e-3, orthogonal recurrent weights; 20 epochs, and dynamic
   evaluation by the RMS rule. An estimate for 20 epochs, from their log, is
   1.275. They go on until 25 epochs bring nothing, keep the rate constant, clip
   Adam's update in place of the gradient, and start every 100 characters from
   a fresh state;
 - `paper`: the training of the paper to the letter, of any stage above: one
   sentence a step from the null vector, plain descent at 1e-4 with momentum
   0.99, derivatives clipped at 1, float32, up to as many epochs as Table 1
   counts. Days on a CPU;
 - `sentences`: between the two, for a CPU, of any stage above but `dropout`: as
   `paper`, with 8 sentences of like length a step, at the same rate and
   momentum, and with a dtype that suits the CPU; up to 12 epochs, stops early
   (`adaptive_weight_noise` two epochs, the best of eight validations);
 - `smoke`: the same in seconds, a small net.

A stage continues from the run that `--config.restore` names, and starts from
scratch without one. The restored weights are validated first and remain the
result where nothing better comes.

What differs from the paper without `paper` and `sentences`:
 - 32 streams of 50 characters a step, Adam, a cosine schedule, the gradient's
   norm clipped at 1, products in bfloat16 where the hardware multiplies it
   (`dtype="auto"`; sums and weights are float32). Where it does not, bfloat16
   costs time: two cores of an EPYC without AVX512-BF16 train 4,300 characters a
   second in float32 and 2,990 in bfloat16;
 - the text is one stream whose state crosses sentences
   (`--config.data.sentences=True` starts each from the null vector);
 - cell states stay within +-10 (`model.cell_clip`), or some would count for
   ever where the state is not cleared;
 - noise is drawn once a step, for all of its 32 streams; the squared gradients
   of adaptive noise are of single streams, estimated without bias by one more
   backward pass (`--config.regularization.squares=exact` takes 32);
with `sentences`: the minibatch, and bfloat16 where the hardware multiplies it;
and with either of them, too:
 - 50 symbols where the paper counts 49: the public files hold 49 characters
   and the line end;
 - sentences in an order drawn again each epoch (the paper names none), those of
   like length one after another for 16 steps, so that 5% of the positions
   computed are padding;
 - dynamic evaluation takes its rate from a search on the validation split.
"""

from ml_collections import config_dict

from configs import common
from seqmodels import errors

STAGES = (
  *("plain", "weight_noise", "adaptive_weight_noise"),
  *("dropout", "zoneout"),
)
# Test bits per character and error rate of Table 1: static, dynamic.
TABLE = {
  "plain": ((1.32, 28.5), (1.29, 28.0)),
  "weight_noise": ((1.27, 27.4), (1.24, 26.9)),
  "adaptive_weight_noise": ((1.26, 27.4), (1.24, 26.9)),
}


# Of Table 1, which does not say whether they take in the stages before.
PAPERS_EPOCHS = {
  "plain": 9.0,
  "weight_noise": 25.0,
  "adaptive_weight_noise": 26.0,
}


def get_config(arg: str = "") -> config_dict.ConfigDict:
  """Settings of a variant."""
  variants = common.parse(
    arg, (*STAGES, "minimum", "paper", "sentences", "smoke")
  )
  common.exclusive(variants, STAGES)
  common.exclusive(variants, ("dropout", "paper", "sentences"))
  common.exclusive(variants, ("zoneout", "paper", "sentences"))
  common.exclusive(variants, ("minimum", "paper", "sentences"))
  stage = next((name for name in STAGES if name in variants), "plain")
  if "minimum" in variants and stage != "adaptive_weight_noise":
    raise errors.UserError(
      "the variant minimum is of a description length, which only "
      "adaptive_weight_noise has; name both in --config"
    )
  config = common.base()
  config.dtype = "auto"
  config.data.update(source="ptb", tokenizer="characters", partition="mikolov")
  config.model.features = (1000,)
  config.training.update(
    epochs=6.0,
    batch=32,
    segment=50,
    learning_rate=3e-3,
    schedule="cosine",
    warmup_steps=200,
    clip_norm=1.0,
    steps_per_dispatch=16,
    evaluations_per_epoch=2,
    checkpoint_every=320,
  )
  config.evaluation.update(streams=1, segment=100, validation_streams=32)
  config.dynamic.update(
    rule="sgd",
    momentum=0.0,
    search=True,
    search_symbols=20_000,
    search_rates=(1e-3, 3e-3, 1e-2),
    search_segments=(20, 100),
  )
  config.baselines.ngram_order = 7
  config.sample.update(length=1000, prime="the company ")
  if stage == "plain":
    config.training.patience = 4
  if stage == "weight_noise":
    config.regularization.weight_noise = 0.075
    config.training.patience = 4
    config.dynamic.search_rates = (3e-3, 1e-2, 3e-2)
  if stage == "adaptive_weight_noise":
    config.regularization.adaptive = 0.075
    # A tenth of an epoch of warm-up: an Adam without its moments costs restored
    # weights 0.07 bits at the full rate.
    config.training.update(
      epochs=2.0,
      learning_rate=2e-4,
      warmup_steps=300,
      evaluations_per_epoch=4,
    )
    config.dynamic.search_rates = (3e-3, 1e-2, 3e-2)
  if "minimum" in variants:
    config.training.update(
      epochs=6.0, learning_rate=2e-3, select="description_length"
    )
  if "paper" in variants:
    common.paper(config, momentum=0.99)
    config.data.sentences = True
    config.training.update(sampling="sentences", epochs=PAPERS_EPOCHS[stage])
  if "sentences" in variants:
    common.sentences(config)
    if stage != "adaptive_weight_noise":
      config.training.update(epochs=12.0, patience=3)
  if stage == "dropout":
    dropout(config)
  if stage == "zoneout":
    zoneout(config)
  if stage in TABLE:
    common.penn_reference(config, *TABLE[stage])
  if "smoke" in variants:
    common.smoke(config)
  return config


def dropout(config: config_dict.ConfigDict) -> None:
  """Two layer-normalised layers of 1000 with dropout and DropConnect."""
  config.model.update(cell="layer_norm_lstm", features=(1000, 1000))
  config.model.peepholes = False
  config.regularization.update(
    dropout_hidden=0.25,
    dropout_output=0.15,
    drop_connect=0.35,
    variational=False,
  )
  config.training.update(
    epochs=8.0,
    batch=32,
    segment=50,
    learning_rate=2e-3,
    evaluations_per_epoch=1,
  )
  rms(config)


def zoneout(config: config_dict.ConfigDict) -> None:
  """One layer of 1000 with zoneout, as Krueger et al. (2017) train it."""
  config.model.update(peepholes=False, recurrent_init="orthogonal")
  config.regularization.update(zoneout_cell=0.5, zoneout_state=0.05)
  config.training.update(
    epochs=20.0,
    batch=32,
    segment=100,
    learning_rate=2e-3,
    clip_norm=1.0,
    random_offset=True,
    evaluations_per_epoch=1,
  )
  rms(config)


def rms(config: config_dict.ConfigDict) -> None:
  """Dynamic evaluation by the RMS rule."""
  config.dynamic.update(
    rule="rms",
    # 24 settings of 500 updates each: half of the test evaluation.
    search_symbols=10_000,
    # Every character is frequent: the best rate is lower than that of words.
    search_rates=(5e-5, 1e-4, 2e-4, 4e-4),
    search_decays=(1e-2, 3e-2, 6e-2),
    search_segments=(20,),
  )
