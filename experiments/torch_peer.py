"""PyTorch's `torch.nn.LSTM` as a peer, where PyTorch is installed.

In bfloat16 there are two ways, and both are measured: `autocast`, which like
ours keeps float32 weights and casts them in every call, and `cast`, the module
and its inputs in bfloat16 throughout, weights and gradients too.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments import layer_work, stack_work
from seqmodels.cells import torch_weights

NAME = "torch.nn.LSTM"
MODES = {"float32": ("",), "bfloat16": ("autocast", "cast")}


@functools.cache
def module() -> Any:
  """The package; ImportError where it is missing."""
  import torch

  if jax.default_backend() == "gpu":
    # JAX lets float32 products run in TF32; so shall PyTorch.
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
  return torch


def missing() -> str:
  """Why it cannot be measured here; empty if it can."""
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
  """Where it computes: beside JAX."""
  return "cuda" if jax.default_backend() == "gpu" else "cpu"


def wait() -> None:
  """Until the device has done what was asked of it."""
  if device() == "cuda":
    module().cuda.synchronize()


def tensor(value: Any) -> Any:
  """A copy on the device."""
  return module().from_numpy(np.array(value)).to(device())


def autocast(on: bool) -> Any:
  """A block whose products take bfloat16 operands, if on."""
  if not on:
    return contextlib.nullcontext()
  return module().autocast(device(), dtype=module().bfloat16)


def lstm(*params: Any) -> Any:
  """`torch.nn.LSTM` with our weights, its second biases fixed at zero.

  Two biases that both learn would be updated twice as fast as our one.

  Args:
    params: our weights without peepholes, one a layer.
  """
  torch = module()
  width = params[0].kernel.shape[0]
  features = params[0].recurrent_kernel.shape[0]
  found = torch.nn.LSTM(width, features, len(params))
  state: dict[str, Any] = {}
  for index, layer in enumerate(params):
    state |= torch_weights.lstm_to_torch(layer, layer=index)
  found.load_state_dict({key: tensor(value) for key, value in state.items()})
  for index in range(len(params)):
    getattr(found, f"bias_hh_l{index}").requires_grad_(False)
  return found.to(device())


def layer(given: layer_work.Task, *, mode: str = "") -> layer_work.Layer:
  """The layer over a task, time-major.

  Args:
    given: the task, without peepholes.
    mode: "" for float32; "autocast" or "cast", see above.
  """
  whole = stack(
    stack_work.Task((given.params,), given.xs, given.cotangent), mode=mode
  )

  def answer() -> layer_work.Answer:
    found = whole.answer()
    return found._replace(d_params=found.d_params[0])

  return whole._replace(answer=answer)


def stack(given: stack_work.Task, *, mode: str = "") -> layer_work.Layer:
  """Layers over a task, each reading the one below.

  Args:
    given: the task, without peepholes.
    mode: as of `layer`.

  Returns:
    Functions whose gradients of weights are a tuple, one a layer.
  """
  torch = module()
  net, xs = lstm(*given.params), tensor(given.xs)
  cotangent = tensor(given.cotangent)
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

  def answer() -> layer_work.Answer:
    outputs, gradients = backward()
    outputs, d_xs, *d_weights = (
      value.detach().float().cpu().numpy() for value in (outputs, *gradients)
    )
    state = dict(zip(weights, d_weights, strict=True))
    d_params = []
    for index in range(len(given.params)):
      state[f"bias_hh_l{index}"] = np.zeros_like(state[f"bias_ih_l{index}"])
      read = torch_weights.lstm_from_torch(state, layer=index)
      d_params.append(jax.tree.map(np.asarray, read))
    return layer_work.Answer(outputs, tuple(d_params), d_xs)

  return layer_work.Layer(forward, backward, answer, lambda: None)


def learner(
  cell: Any,
  head: Any,
  table: Any,
  inputs: np.ndarray,
  targets: np.ndarray,
  *,
  optimizer: Callable[[list[Any]], Any],
  reduction: str,
  mixed: bool = False,
  clip_norm: float = 0.0,
) -> Callable[[], np.ndarray]:
  """A plain loop of truncated backpropagation: predict, update, go on.

  Args:
    cell: our LSTM weights [V, 4H]..., without peepholes.
    head: {"kernel": [H, V], "bias": [V]}.
    table: [V, E] of an embedding that learns, too; None for one-hot vectors,
      which are rows of a unit matrix.
    inputs: [K, T, B] ids.
    targets: [K, T, B].
    optimizer: parameters -> a torch optimiser.
    reduction: the loss of a segment: "mean" over its symbols or their "sum".
    mixed: products in bfloat16 by autocast.
    clip_norm: bound on the norm of the whole gradient; 0 clips nothing.

  Returns:
    A function that learns from the K segments, the weights and the carry
    staying for its next call, and gives the nats of each segment.
  """
  torch = module()
  net, symbols = lstm(cell), head["bias"].shape[0]
  dense = torch.nn.Linear(head["kernel"].shape[0], symbols)
  dense.load_state_dict(
    {"weight": tensor(head["kernel"].T), "bias": tensor(head["bias"])}
  )
  dense.to(device())
  embed = torch.nn.Embedding.from_pretrained(
    torch.eye(symbols) if table is None else tensor(table),
    freeze=table is None,
  ).to(device())
  weights = [*embed.parameters(), *net.parameters(), *dense.parameters()]
  weights = [weight for weight in weights if weight.requires_grad]
  rule = optimizer(weights)
  carry: Any = None
  symbols_a_segment = inputs[0].size

  def run() -> np.ndarray:
    nonlocal carry
    losses = []
    for ids, following in zip(inputs, targets, strict=True):
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
      carry = tuple(part.detach() for part in carry)
      losses.append(loss.detach())
    scale = symbols_a_segment if reduction == "mean" else 1
    found = torch.stack(losses).cpu().numpy() * scale
    wait()
    return found

  return run


def adam(rate: float) -> Callable[[list[Any]], Any]:
  """Adam in its fused form, the fastest that PyTorch has."""
  return lambda weights: module().optim.Adam(weights, lr=rate, fused=True)


def sgd(rate: float, momentum: float) -> Callable[[list[Any]], Any]:
  """Gradient descent with momentum, fused as well."""
  return lambda weights: module().optim.SGD(
    weights, lr=rate, momentum=momentum, fused=True
  )
