#!/usr/bin/env bash
# Tries launch/slurm.sbatch on a SLURM of this one machine: two tasks that find
# each other train together, are preempted by a more urgent job, go back into
# the queue, go on and finish; a second job is left in peace. The two must end
# with the same losses and rows, bit for bit. Five minutes on two cores:
#
#   sudo --preserve-env=PATH,PYTHON launch/try_slurm.sh runs/slurm-trial
#
# Needs slurm-wlm and munge (see one_machine_slurm.sh), and an empty folder.
set -euo pipefail

if [ $# -ne 1 ]; then
  echo "usage: $0 FOLDER" >&2
  exit 2
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p "$1"
folder=$(cd "$1" && pwd)
if [ -n "$(ls -A "$folder")" ]; then
  echo "$folder is not empty; name a new folder" >&2
  exit 2
fi

launch/one_machine_slurm.sh start "$folder/slurm"
trap 'launch/one_machine_slurm.sh stop "$folder/slurm"' EXIT
export SLURM_CONF=$folder/slurm/slurm.conf JAX_PLATFORMS=cpu
python=${PYTHON:-python}

wait_for() { # what it is, seconds, and a command that says whether it is there
  for _ in $(seq "$2"); do
    if "${@:3}"; then return; fi
    sleep 1
  done
  echo "$1: not within $2 seconds" >&2
  squeue >&2
  exit 1
}
submit() { # name and partition
  sbatch --parsable --partition="$2" --output="$folder/$1.out" \
    launch/slurm.sbatch --config=configs/quickstart.py:smoke \
    --config.training.max_steps=3000 --config.training.epochs=10000.0 \
    --config.training.checkpoint_every=100 --workdir="$folder/$1"
}
state() { scontrol show job "$1" | grep -o "JobState=[A-Z]*"; }
is() { [ "$(state "$1")" = "JobState=$2" ]; }
has_steps() { [ "$(wc -l 2>/dev/null <"$1/metrics.jsonl" || echo 0)" -gt 100 ]; }

job=$(submit preempted normal)
wait_for "the first steps of job $job" 300 has_steps "$folder/preempted"
urgent=$(sbatch --parsable --partition=urgent --ntasks=2 --output=/dev/null \
  --wrap "sleep 5")
wait_for "preemption of job $job" 120 is "$job" PENDING
echo "job $job: preempted by job $urgent, in the queue again"
wait_for "the end of job $job" 900 is "$job" COMPLETED
alone=$(submit undisturbed urgent)
wait_for "the end of job $alone" 900 is "$alone" COMPLETED

"$python" - "$folder/preempted" "$folder/undisturbed" <<'PYTHON'
import json, pathlib, sys

def told(folder):
  folder = pathlib.Path(folder)
  lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
  kept = [x for x in lines if not x["name"].endswith("_per_second")]
  rows = json.loads((folder / "results.json").read_text())["rows"]
  return kept, [{**row, "seconds": 0} for row in rows]

run = json.loads((pathlib.Path(sys.argv[1]) / "run.json").read_text())
starts = [run, *run["resumes"]]
counts = [start["processes"] for start in starts]
print(f"starts of {counts} processes, in the end {run['outcome']}")
assert set(counts) == {2}, "the tasks did not find each other"
(lines, rows), (expected, expected_rows) = map(told, sys.argv[1:])
assert len(starts) > 1, "the job was not interrupted"
assert lines == expected, "metrics differ"
assert rows == expected_rows, "rows differ"
print(f"{len(lines)} metrics and {len(rows)} rows equal, bit for bit")
PYTHON
