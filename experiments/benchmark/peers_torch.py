"""PyTorch's `torch.nn.LSTM` as a peer, if PyTorch is installed.

In bfloat16 there are two ways, and both are measured: `autocast`, which like
ours keeps float32 weights and casts them in every call, and `cast`, the module
and its inputs in bfloat16 throughout, weights and gradients too.
"""

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.benchmark import case, peers_jax
from seqmodels.cells import convert, lstm

MODES = {"float32": ("",), "bfloat16": ("autocast", "cast")}
SAMPLER_CELLS = ("LSTM", "LSTMCell")


@functools.cache
def modes(precision: str) -> tuple[str, ...]:
  """The ways of `MODES` that PyTorch's LSTM has on this processor.

  Its library for CPUs, oneDNN, has no LSTM under autocast to bfloat16 where the
  processor has no bfloat16 products.
  """
  return tuple(mode for mode in MODES[precision] if _runs(mode))


def _runs(mode: str) -> bool:
  torch = module()
  net, xs = torch.nn.LSTM(2, 2).to(device()), tensor(np.zeros((2, 1, 2), "f4"))
  if mode == "cast":
    net, xs = net.bfloat16(), xs.bfloat16()
  try:
    with autocast(mode == "autocast"):
      net(xs)
  except RuntimeError:
    return False
  return True


@functools.cache
def module() -> Any:
  """The package, imported now; raises ImportError if it is missing."""
  import torch

  if jax.default_backend() == "gpu":
    # JAX lets float32 products run in TF32; so must PyTorch.
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
  return torch


def missing() -> str:
  """The reason why it cannot be measured here; empty if it can."""
  try:
    torch = module()
  except (ImportError, OSError) as error:
    reason = " ".join(str(error).split())
    return f"no PyTorch ({reason}); pip install -e '.[bench]'"
  backend = jax.default_backend()
  if backend == "gpu" and not torch.cuda.is_available():
    return f"JAX runs on a GPU, PyTorch {torch.__version__} finds none"
  if backend not in ("cpu", "gpu"):
    return f"PyTorch does not run on this {backend}"
  return ""


def version() -> str:
  """Version and threads, for the record."""
  torch = module()
  return f"{torch.__version__} on {device()}, {torch.get_num_threads()} threads"


def device() -> str:
  """The device it computes on: that of JAX."""
  return "cuda" if jax.default_backend() == "gpu" else "cpu"


def wait() -> None:
  """Waits until the device has finished its work."""
  if device() == "cuda":
    module().cuda.synchronize()


def tensor(value: Any) -> Any:
  """A copy on the device."""
  return module().from_numpy(np.array(value)).to(device())


def load(net: Any, state: Mapping[str, Any]) -> Any:
  """The module with these weights, on the device."""
  net.load_state_dict({name: tensor(value) for name, value in state.items()})
  return net.to(device())


def autocast(on: bool) -> Any:
  """A context in which products take bfloat16 operands, if on."""
  if not on:
    return contextlib.nullcontext()
  return module().autocast(device(), dtype=module().bfloat16)


def lstm_module(params: Sequence[lstm.LSTMParams]) -> Any:
  """`torch.nn.LSTM` with our weights, its second biases fixed at zero.

  Two biases that both learn would be updated twice as fast as our one.
  """
  width, features = (
    kernel.shape[0] for kernel in (params[0].kernel, params[0].recurrent_kernel)
  )
  state: dict[str, Any] = {}
  for index, layer in enumerate(params):
    state |= convert.lstm_to_torch(layer, layer=index)
  net = load(module().nn.LSTM(width, features, len(params)), state)
  for index in range(len(params)):
    getattr(net, f"bias_hh_l{index}").requires_grad_(False)
  return net


def linear(head: Mapping[str, Any]) -> Any:
  """`torch.nn.Linear` with weights {"kernel": [H, V], "bias": [V]}."""
  state = {"weight": head["kernel"].T, "bias": head["bias"]}
  return load(module().nn.Linear(*head["kernel"].shape), state)


def layers(task: case.LayerTask, *, mode: str = "") -> case.Layers:
  """The layers over a task without peepholes, time-major.

  `mode` is "" for float32; "autocast" or "cast", see above.
  """
  torch = module()
  net, xs = lstm_module(task.params), tensor(task.xs)
  cotangent = tensor(task.cotangent)
  if mode:
    cotangent = cotangent.bfloat16()
  if mode == "cast":
    net, xs = net.bfloat16(), xs.bfloat16()
  xs.requires_grad_()
  weights = {
    name: weight
    for name, weight in net.named_parameters()
    if weight.requires_grad
  }

  def forward() -> Any:
    net.eval()  # nothing is kept for a backward pass
    with torch.inference_mode(), autocast(mode == "autocast"):
      outputs, _ = net(xs)
    wait()
    return outputs

  def backward() -> Any:
    net.train()
    with autocast(mode == "autocast"):
      outputs, _ = net(xs)
    gradients = torch.autograd.grad(outputs, [xs, *weights.values()], cotangent)
    wait()
    return outputs, gradients

  def answer() -> case.Answer:
    outputs, gradients = backward()
    outputs, d_xs, *d_weights = (
      value.detach().float().cpu().numpy() for value in (outputs, *gradients)
    )
    state = dict(zip(weights, d_weights, strict=True))
    d_params = []
    for index in range(len(task.params)):
      state[f"bias_hh_l{index}"] = np.zeros_like(state[f"bias_ih_l{index}"])
      ours = convert.lstm_from_torch(state, layer=index)
      d_params.append(jax.tree.map(np.asarray, ours))
    return case.Answer(outputs, tuple(d_params), d_xs)

  return case.Layers(forward, backward, answer, lambda: None)


def learner(
  params: Any,
  segments: Any,
  optimizer: str,
  *,
  reduction: str,
  mixed: bool = False,
  clip_norm: float = 0.0,
  **options: float,
) -> Callable[[], np.ndarray]:
  """A plain loop of truncated backpropagation: predict, then update.

  Args:
    params: those of our language model, without peepholes. One-hot vectors are
      rows of a unit matrix; an embedding learns, too.
    segments: `inputs` and `targets`, ids [K, T, B].
    optimizer: of `torch.optim`, in its fused form, the fastest there is.
    reduction: the loss of a segment: "mean" over its symbols or their "sum".
    mixed: products in bfloat16 by autocast.
    clip_norm: bound on the norm of the whole gradient; 0 clips nothing.
    **options: of the optimizer.

  Returns:
    A function that learns from the K segments and returns the nats of each.
    Weights and carry stay for its next call.
  """
  torch = module()
  cells, head, table = peers_jax.split(params)
  net, dense = lstm_module(cells), linear(head)
  embed = torch.nn.Embedding.from_pretrained(
    torch.eye(head["bias"].shape[0]) if table is None else tensor(table),
    freeze=table is None,
  ).to(device())
  weights = [*embed.parameters(), *net.parameters(), *dense.parameters()]
  weights = [weight for weight in weights if weight.requires_grad]
  rule = getattr(torch.optim, optimizer)(weights, fused=True, **options)
  carry: Any = None

  def run() -> np.ndarray:
    nonlocal carry
    losses = []
    for ids, following in zip(segments.inputs, segments.targets, strict=True):
      with autocast(mixed):
        hs, carry = net(embed(tensor(ids)), carry)
        logits = dense(hs)
      loss = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1),
        tensor(following).flatten().long(),
        reduction=reduction,
      )
      rule.zero_grad()
      loss.backward()
      if clip_norm:
        torch.nn.utils.clip_grad_norm_(weights, clip_norm)
      rule.step()
      carry = tuple(state.detach() for state in carry)
      losses.append(loss.detach())
    scale = segments.inputs[0].size if reduction == "mean" else 1
    nats = torch.stack(losses).cpu().numpy() * scale
    wait()
    return nats

  return run


def sampler(
  params: Any, task: case.SamplingTask, *, cell: str, cast: bool
) -> case.Sampler:
  """PyTorch's layer or cell in a Python loop, without gradients.

  Neither is always the faster one, so both are measured.

  Args:
    params: ours: one LSTM layer without peepholes, and a linear head.
    task: the texts to draw.
    cell: one of `SAMPLER_CELLS`.
    cast: modules in bfloat16, or in float32.
  """
  torch = module()
  dtype = torch.bfloat16 if cast else torch.float32
  (weights,), head, _ = peers_jax.split(params)
  symbols = head["bias"].shape[0]
  dense = linear(head).to(dtype)
  # The null vector is the last row, where its id, -1, finds it.
  vectors = torch.eye(symbols + 1, symbols, device=device(), dtype=dtype)
  advance = _step(weights, cell, dtype)

  def step(carry: Any, ids: Any) -> tuple[Any, Any]:
    carry, hs = advance(carry, vectors[ids])
    return carry, dense(hs).float()

  def run() -> np.ndarray:
    drawn = []
    with torch.inference_mode():
      ids = torch.full((task.batch,), case.NULL, device=device())
      carry, logits = step(None, ids)
      for _ in range(task.length):
        ids = torch.multinomial(torch.softmax(logits, dim=-1), 1)[:, 0]
        drawn.append(ids)
        carry, logits = step(carry, ids)
      return np.asarray(torch.stack(drawn).cpu().numpy())

  def logits(ids: np.ndarray) -> np.ndarray:
    scores, carry = [], None
    with torch.inference_mode():
      for row in tensor(ids).long():
        carry, logits = step(carry, row)
        scores.append(logits)
      return np.asarray(torch.stack(scores).cpu().numpy())

  return case.Sampler(run, logits)


def _step(
  weights: lstm.LSTMParams, cell: str, dtype: Any
) -> Callable[[Any, Any], tuple[Any, Any]]:
  """(carry, xs [B, V]) -> (carry, hs [B, H])."""
  if cell == "LSTM":
    layer = lstm_module([weights]).to(dtype)

    def by_layer(carry: Any, xs: Any) -> tuple[Any, Any]:
      hs, carry = layer(xs[None], carry)
      return carry, hs[0]

    return by_layer
  state = convert.lstm_to_torch(weights)
  unit = load(
    module().nn.LSTMCell(
      weights.kernel.shape[0], weights.recurrent_kernel.shape[0]
    ),
    {name.removesuffix("_l0"): value for name, value in state.items()},
  ).to(dtype)

  def by_cell(carry: Any, xs: Any) -> tuple[Any, Any]:
    carry = unit(xs, carry)
    return carry, carry[0]

  return by_cell
