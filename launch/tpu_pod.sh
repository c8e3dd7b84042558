#!/bin/bash
# One training run on all hosts of a Cloud TPU slice. From the project's folder:
#
#   TPU=my-slice ZONE=us-central2-b bash launch/tpu_pod.sh \
#     --config=configs/enwik8.py --workdir=/mnt/runs/enwik8
#
# Copies the last commit to every host, installs it there and starts the same
# command on all; they find each other by themselves. Run again after a
# preemption, once the slice is back, it resumes. For that --workdir has to
# outlast the slice and be seen by its first host (a shared disk; in a mounted
# bucket the folders of checkpoints cannot be renamed), and the data must lie in
# the --data_dir of every host or be downloaded there.
#
# PYTHON names the hosts' interpreter, 3.11 or newer; python3 by default.
set -euo pipefail

: "${TPU:?name the TPU slice, TPU=my-slice}"
: "${ZONE:?name its zone, ZONE=us-central2-b}"
python=${PYTHON:-python3}

archive=$(mktemp --suffix=.tar.gz)
trap 'rm -f "$archive"' EXIT
git archive --format=tar.gz --output="$archive" HEAD

tpu() { gcloud compute tpus tpu-vm "$1" --zone="$ZONE" --worker=all "${@:2}"; }

tpu scp "$archive" "$TPU:seqmodels.tar.gz"
tpu ssh "$TPU" --command="mkdir -p seqmodels &&
  tar -xzf seqmodels.tar.gz -C seqmodels && cd seqmodels &&
  $python -m pip install --quiet -e '.[tpu]'"
tpu ssh "$TPU" --command="cd seqmodels &&
  exec $python main.py --distributed${*:+$(printf ' %q' "$@")}"
