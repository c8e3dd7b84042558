"""Records: ratios, shares, rows; cases with rounds of their own."""

import pytest

from experiments.benchmark import case, layer_cases


def test_a_ratio_is_taken_round_by_round_against_ours_of_the_same_kind(
  entry, record
):
  rows = case.rows(
    record(
      entry("ours", [1.0, 2.0, 4.0], name="ours, float32"),
      entry("ours", [9.0] * 3, name="ours, peepholes", kind="peepholes"),
      entry("peer", [3.0, 4.0, 4.0], note="mode"),
      entry("peer", [3.0] * 3, precision="bfloat16"),
    ),
    {},
  )
  assert [(row["metric"], row["value"]) for row in rows] == [
    ("tokens_per_second", 5.0),
    ("tokens_per_second", pytest.approx(10 / 9)),
    ("tokens_per_second", 2.5),
    ("tokens_per_second", pytest.approx(10 / 3)),
    ("speed_ratio", 2.0),
    ("speed_ratio", 1.5),
  ]
  assert rows[-2]["name"] == "layer, forward: ours, float32 over peer (mode)"
  assert (rows[-2]["count"], rows[-2]["seconds"]) == (30, 7.0)
  assert (
    rows[-1]["name"] == "layer, forward: ours, float32 over peer (at its best)"
  )


def test_a_share_is_of_the_large_products_in_the_same_precision(entry, record):
  large = record(
    entry("jnp", [2.0, 3.0, 6.0]),
    entry("jnp", [1.0], precision="bfloat16"),
    tokens=600,
  )
  rates = layer_cases.product_rates({layer_cases.LARGE: large})
  assert rates == {"float32": 200.0, "bfloat16": 600.0}
  layer = record(
    entry("ours", [2.0, 3.0, 4.0]),
    entry("peer", [1.0], precision="bfloat16"),
    operations=300,
  )
  shares = [
    row
    for row in case.rows(layer, rates)
    if row["name"].endswith(f"of {case.PRODUCTS}")
  ]
  assert [row["value"] for row in shares] == [0.5, 0.5]
  assert {row["metric"] for row in shares} == {"share_of_products"}
  assert "ours of this machine's large products" in shares[0]["name"]
  assert layer_cases.product_rates({}) == {}
  assert len(case.rows(layer, {})) == 3


def test_operations_are_those_of_the_formula():
  forward = 2 * 5 * 3 * (4 + 4) * 4 * 4
  assert case.operations(5, 3, 4, backward=False) == forward
  assert case.operations(5, 3, 4, 7, backward=True) == 21 * forward


def test_a_case_may_have_rounds_of_its_own():
  runs = []
  one = case.Case(
    "t", "l", "w", 1, [case.Entry("a", "float32", lambda: runs.append(1))]
  )
  options = {"rounds": case.Rounds(4, 0.0), "warmup": 1, "seed": 0}
  record = case.measure(one, **options)
  assert len(record["entries"][0]["seconds"]) == 4
  record = case.measure(one._replace(rounds=case.Rounds(2, 0.0)), **options)
  assert len(record["entries"][0]["seconds"]) == 2
  assert len(runs) == 5 + 3
