import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.models import networks
from seqmodels.sampling import text

VOCABULARY, HIDDEN = 5, 6


def _apply(params, carry, inputs, reset):
  def step(h, now):
    ids, clear = now
    h = jnp.where(clear[:, None], 0.0, h)
    rows = jnp.where(ids[:, None] < 0, 0.0, params["kernel"][ids])
    h = jnp.tanh(rows + h @ params["recurrent_kernel"])
    return h, h @ params["head"]

  return jax.lax.scan(step, carry, (inputs, reset))


ELMAN = networks.SequenceModel(
  apply=_apply,
  initial_carry=lambda batch: jnp.zeros((batch, HIDDEN)),
  init=lambda key: {
    name: jax.random.normal(jax.random.fold_in(key, i), shape)
    for i, (name, shape) in enumerate(
      {
        "kernel": (VOCABULARY, HIDDEN),
        "recurrent_kernel": (HIDDEN, HIDDEN),
        "head": (HIDDEN, VOCABULARY),
      }.items()
    )
  },
  vocabulary_size=VOCABULARY,
)
PARAMS = ELMAN.init(jax.random.key(2))

# Row -1, the last, is what the null vector is followed by.
CHAIN = np.array(
  [[0.1, 0.6, 0.3], [0.5, 0.0, 0.5], [0.25, 0.7, 0.05], [0.2, 0.2, 0.6]]
)
MARKOV = networks.SequenceModel(
  apply=lambda params, carry, inputs, reset: (carry, params[inputs]),
  initial_carry=lambda batch: (),
  init=lambda key: jnp.log(jnp.asarray(CHAIN, jnp.float32)),
  vocabulary_size=3,
)


def _step_by_step(params, key, *, length, prime, temperature, batch, end=None):
  """The same draws by a Python loop over a NumPy network."""
  p = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}
  h, drawn, now = np.zeros((batch, HIDDEN)), [], [[-1] * batch]
  now += [[symbol] * batch for symbol in prime]

  def read(h, symbols):
    h, rows = h.copy(), np.zeros((batch, HIDDEN))
    for b, symbol in enumerate(symbols):
      if symbol == end:
        h[b] = 0
      elif symbol >= 0:
        rows[b] = p["kernel"][symbol]
    return np.tanh(rows + h @ p["recurrent_kernel"])

  for symbols in now:
    h = read(h, symbols)
  for step in range(length):
    logits = h @ p["head"]
    noise = jax.random.gumbel(jax.random.fold_in(key, step), logits.shape)
    symbols = (logits + temperature * np.asarray(noise)).argmax(-1).tolist()
    drawn.append(symbols)
    h = read(h, symbols)
  return np.array(drawn)


@pytest.mark.parametrize("end", [None, 3])
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("prime", [[], [4], [1, 3, 0, 2]])
def test_draws_equal_a_step_by_step_loop(prime, temperature, end):
  key = jax.random.key(11)
  settings = {"length": 30, "prime": prime, "temperature": temperature}
  drawn = text.sample(ELMAN, PARAMS, key, batch=3, sentence_end=end, **settings)
  assert drawn.shape == (30, 3)
  assert drawn.dtype == np.int32
  expected = _step_by_step(PARAMS, key, batch=3, end=end, **settings)
  np.testing.assert_array_equal(drawn, expected)


def _frequencies(drawn):
  """Shares of each symbol after each symbol, and after the null vector."""
  counts = np.zeros((4, 3))
  np.add.at(counts, (drawn[:-1].ravel(), drawn[1:].ravel()), 1)
  np.add.at(counts, (3, drawn[0]), 1)
  return counts / counts.sum(-1, keepdims=True), counts.sum(-1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_those_of_the_chain(temperature):
  drawn = text.sample(
    MARKOV,
    MARKOV.init(None),
    jax.random.key(5),
    length=50,
    batch=4000,
    temperature=temperature,
  )
  sharp = CHAIN ** (1 / temperature)
  expected = sharp / sharp.sum(-1, keepdims=True)
  actual, counts = _frequencies(drawn)
  # Five standard deviations of a share over so many draws.
  slack = 5 * np.sqrt(expected * (1 - expected) / counts[:, None])
  assert np.all(np.abs(actual - expected) <= slack)
  assert actual[1, 1] == 0.0  # what cannot follow never does


def test_rows_of_a_batch_are_independent():
  drawn = text.sample(
    MARKOV, MARKOV.init(None), jax.random.key(1), length=4000, batch=2
  )
  agreement = np.mean(drawn[:, 0] == drawn[:, 1])
  left, right = (np.bincount(row, minlength=3) / 4000 for row in drawn.T)
  assert agreement == pytest.approx(left @ right, abs=0.05)


def test_the_same_key_draws_the_same_and_another_does_not():
  def draw(seed, length=40):
    return text.sample(
      ELMAN, PARAMS, jax.random.key(seed), length=length, prime=[1]
    )

  np.testing.assert_array_equal(draw(0), draw(0))
  assert np.any(draw(0) != draw(1))
  np.testing.assert_array_equal(draw(0, 25), draw(0)[:25])


def test_temperature_zero_is_greedy_whatever_the_key():
  def draw(seed, **settings):
    return text.sample(
      ELMAN, PARAMS, jax.random.key(seed), length=20, **settings
    )

  frozen = draw(0, temperature=0.0)
  np.testing.assert_array_equal(frozen, draw(1, temperature=0.0))
  np.testing.assert_array_equal(frozen, draw(2, greedy=True))
  np.testing.assert_array_equal(frozen, draw(2, greedy=True, temperature=3.0))


def test_the_hottest_temperature_still_draws_all_symbols_alike():
  drawn = text.sample(
    ELMAN, PARAMS, jax.random.key(0), length=300, temperature=text.HOTTEST
  )
  counts = np.bincount(drawn[:, 0], minlength=VOCABULARY)
  assert counts.min() > 0.5 * counts.mean()


def test_another_temperature_prime_and_seed_compile_nothing_new():
  def draw(seed, prime, temperature):
    text.sample(
      ELMAN,
      PARAMS,
      jax.random.key(seed),
      length=8,
      prime=prime,
      temperature=temperature,
    )

  draw(0, [1, 2], 1.0)
  compiled = text._scan._cache_size()
  draw(1, [3, 0], 0.0)
  draw(2, [4, 4], 0.3)
  assert text._scan._cache_size() == compiled


def test_nothing_crosses_to_the_device_unasked():
  key = jax.random.key(0)
  with jax.transfer_guard("disallow"):
    drawn = text.sample(ELMAN, PARAMS, key, length=3, prime=[1])
  assert drawn.shape == (3, 1)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"length": 0}, "length of a sample is 0"),
    ({"length": 3, "batch": 0}, "batch of a sample is 0"),
    ({"length": 3, "temperature": -0.1}, "temperature is -0.1"),
    ({"length": 3, "temperature": float("nan")}, "temperature is nan"),
    ({"length": 3, "temperature": 1e39}, r"temperature is 1e\+39"),
    ({"length": 3, "prime": [0, 5]}, "holds the id 5; the model knows 0 to 4"),
    ({"length": 3, "prime": [-1]}, "holds the id -1"),
  ],
)
def test_bad_requests_are_named(settings, message):
  with pytest.raises(errors.UserError, match=message):
    text.sample(ELMAN, PARAMS, jax.random.key(0), **settings)
