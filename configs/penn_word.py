"""Penn Treebank by words: Graves (2013), section 3.1, Table 1, and past it.

    python main.py --config=configs/penn_word.py --workdir=runs/penn_word
    python main.py --config=configs/penn_word.py:weight_noise \\
        --config.restore=runs/penn_word --workdir=runs/penn_word_weight_noise
    python main.py --config=configs/penn_word.py:dropout \\
        --workdir=runs/penn_word_dropout

One layer of 1000 peephole LSTM cells between one-hot vectors and a softmax of
10,000 words: 54,017,000 weights, nearly all of them in the two vocabularies.
The test rows of Table 1, in perplexity (error rate in percent):

    regularisation   static        dynamic
    none             138 (77.8)    126 (76.9)
    weight noise     126 (76.9)    117 (76.2)

What came out here, and how long it took, is in RESULTS.md.

Variants:
 - `plain` (the default);
 - `weight_noise`: noise of deviation 0.075 on all weights, from the run that
   `--config.restore` names; stops early. The paper found adaptive noise too
   slow for this net;
 - `dropout`: no network of the paper's: two layers of 650 over an embedding
   that the softmax shares (13.3 million weights), dropout with one mask a
   segment (Gal and Ghahramani, 2016) and of whole words, DropConnect and a
   constant rate with the weights averaged over the last third of the training
   (Merity et al., 2018), dynamic evaluation by the RMS rule. 40 epochs,
   estimated at 2.5 hours on two cores; more still help
   (`--config.training.epochs=170.0`, estimated at ten hours);
 - `paper`: the training of the paper to the letter, with either of the first
   two: one sentence a step from the null vector, plain descent at 1e-4 with
   momentum 0.99, derivatives clipped at 1, float32;
 - `sentences`: between the two, for a CPU, with either of the first two: as
   `paper`, with 8 sentences of like length a step, at the same rate and
   momentum, and with a dtype that suits the CPU;
 - `smoke`: the same in seconds, a small net.

What differs from the paper without `paper` and `sentences`:
 - 20 streams of 35 words a step, plain descent whose rate is held for four
   epochs and halved in each of the seven that follow (Zaremba et al., 2014),
   the gradient's norm clipped, products in bfloat16 where the hardware
   multiplies it (sums and weights are float32);
 - the text is one stream whose state crosses sentences;
 - cell states stay within +-10 (`model.cell_clip`), or some would count for
   ever where the state is not cleared;
 - noise is drawn once a step, for all of its streams;
with `sentences`: the minibatch, its rate and momentum, bfloat16 where the
hardware multiplies it; and with either of them, too: sentences in an order
drawn again each epoch, those of like length one after another for 8 steps, and
dynamic evaluation with a rate from a search on the validation split.

Without regularisation this net overfits within a few passes; the weights of the
best validation are the ones reported.
"""

from ml_collections import config_dict

from configs import common

STAGES = ("plain", "weight_noise", "dropout")
# Test perplexity and error rate of Table 1: static, dynamic.
TABLE = {
  "plain": ((138.0, 77.8), (126.0, 76.9)),
  "weight_noise": ((126.0, 76.9), (117.0, 76.2)),
}


# Of Table 1, which does not say whether they take in the stage before.
PAPERS_EPOCHS = {"plain": 11.0, "weight_noise": 14.0}


def get_config(arg: str = "") -> config_dict.ConfigDict:
  """Settings of a variant."""
  variants = common.parse(arg, (*STAGES, "paper", "sentences", "smoke"))
  common.exclusive(variants, STAGES)
  common.exclusive(variants, ("dropout", "paper", "sentences"))
  stage = next((name for name in STAGES if name in variants), "plain")
  config = common.base()
  config.dtype = "auto"
  config.data.update(source="ptb", tokenizer="words", partition="mikolov")
  config.model.features = (1000,)
  config.training.update(
    epochs=11.0,
    batch=20,
    segment=35,
    optimizer="sgd",
    momentum=0.0,
    learning_rate=20.0,
    schedule="halving",
    warmup_steps=100,
    clip_norm=0.25,
    steps_per_dispatch=8,
    evaluations_per_epoch=2,
    checkpoint_every=160,
    patience=4,
  )
  config.evaluation.update(streams=1, segment=100, validation_streams=16)
  config.dynamic.update(
    rule="sgd",
    momentum=0.0,
    search=True,
    search_symbols=3_000,
    search_rates=(3e-3, 1e-2, 3e-2),
    # Each update rewrites 54 million weights: short segments cost hours.
    search_segments=(50,),
  )
  config.baselines.ngram_order = 5
  config.sample.update(length=200, prime="the company")
  if stage == "weight_noise":
    config.regularization.weight_noise = 0.075
    config.training.update(epochs=10.0, schedule="cosine")
  if stage == "dropout":
    dropout(config)
  if "paper" in variants:
    common.paper(config, momentum=0.99)
    config.data.sentences = True
    config.training.update(sampling="sentences", epochs=PAPERS_EPOCHS[stage])
  if "sentences" in variants:
    common.sentences(config)
    config.training.epochs = PAPERS_EPOCHS[stage]
  if stage in TABLE:
    common.penn_reference(config, *TABLE[stage])
  if "smoke" in variants:
    common.smoke(config)
  return config


def dropout(config: config_dict.ConfigDict) -> None:
  """Two layers of 650 over a tied embedding, with dropout and DropConnect."""
  config.model.update(
    features=(650, 650),
    embedding=650,
    tied=True,
    input_skips=False,
    output_skips=False,
  )
  config.regularization.update(
    dropout_embedding=0.1,
    dropout_input=0.4,
    dropout_hidden=0.25,
    dropout_output=0.4,
    drop_connect=0.5,
    variational=True,
  )
  config.training.update(
    epochs=40.0,
    batch=32,
    segment=70,
    # Averaging replaces the fall of the rate, and patience would end the
    # training before the average begins.
    schedule="constant",
    average=0.33,
    patience=0,
    evaluations_per_epoch=1,
    checkpoint_every=160,
  )
  config.dynamic.update(
    rule="rms",
    # 30 settings of 500 updates each: about four times the test evaluation.
    search_symbols=10_000,
    search_rates=(2e-4, 4e-4, 6e-4, 8e-4, 1.2e-3),
    search_decays=(1e-2, 3e-2, 6e-2),
    search_segments=(20,),
  )
