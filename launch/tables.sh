#!/bin/bash
# Every training and evaluation behind the tables of RESULTS.md, in order of
# worth. Each row is one command of the README's shape: a run that was stopped
# continues, a finished one prints its table and costs seconds, so this script
# is simply started again until it ends.
#
#   launch/tables.sh                 all of it, about six days of two cores
#   launch/tables.sh --list          the commands and their expected times
#   launch/tables.sh penn_char       only the runs whose names begin so
#   launch/tables.sh --quick-first   the order for a GPU: Table 1 to its end,
#                                    handwriting, enwik8, the benchmark
#
# Run folders are $RUNS/NAME (runs/NAME by default), data are looked for as
# main.py does ($SEQMODELS_DATA). PYTHON names another interpreter. Ctrl-C, or
# SIGTERM to the Python process, has the run save itself and ends the script. A
# run that fails is named at the end; those that start from it are left out, the
# others go on.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
runs=${RUNS:-runs}

# name | hours on two cores with AMX | runs that must have finished before |
# arguments; ~ stands for the folder of the runs.
worth='
penn_word_dropout|10||--config=configs/penn_word.py:dropout --config.training.epochs=170.0
penn_word_dropout_rms|1.5|penn_word_dropout|--config=configs/dynamic_evaluation.py:rms --config.restore=~/penn_word_dropout
penn_char|3||--config=configs/penn_char.py:sentences
penn_char_weight_noise|4|penn_char|--config=configs/penn_char.py:weight_noise,sentences --config.restore=~/penn_char
penn_char_weight_noise_rms|1|penn_char_weight_noise|--config=configs/dynamic_evaluation.py:rms --config.restore=~/penn_char_weight_noise
penn_char_adaptive|2|penn_char_weight_noise|--config=configs/penn_char.py:adaptive_weight_noise,sentences --config.restore=~/penn_char_weight_noise
penn_char_adaptive_minimum|2|penn_char_weight_noise|--config=configs/penn_char.py:adaptive_weight_noise,minimum --config.restore=~/penn_char_weight_noise --config.model.cell_clip=0.0 --config.data.sentences=True
penn_word|3||--config=configs/penn_word.py
penn_word_weight_noise|4|penn_word|--config=configs/penn_word.py:weight_noise --config.restore=~/penn_word
penn_word_weight_noise_rms|2|penn_word_weight_noise|--config=configs/dynamic_evaluation.py:rms --config.restore=~/penn_word_weight_noise
synthesis|2||--config=configs/handwriting_synthesis.py
synthesis_adaptive|2|synthesis|--config=configs/handwriting_synthesis.py:adaptive_weight_noise --config.restore=~/synthesis
prediction|1.5||--config=configs/handwriting_prediction.py
prediction_adaptive|1.5|prediction|--config=configs/handwriting_prediction.py:adaptive_weight_noise --config.restore=~/prediction
prediction_one_layer|1.5||--config=configs/handwriting_prediction.py:one_layer
penn_char_zoneout|4||--config=configs/penn_char.py:zoneout
penn_char_dropout|24||--config=configs/penn_char.py:dropout
enwik8|2||--config=configs/enwik8.py:graves
quickstart|0.1||--config=configs/quickstart.py --config.seeds=3
penn_char_paper|70||--config=configs/penn_char.py:paper
'
gpu='
penn_char
penn_char_weight_noise
penn_char_weight_noise_rms
penn_char_adaptive
penn_word
penn_word_weight_noise
penn_word_weight_noise_rms
penn_word_dropout
penn_word_dropout_rms
synthesis
synthesis_adaptive
prediction
prediction_adaptive
enwik8_3x700
benchmark
'
only_gpu='
enwik8_3x700|2||--config=configs/enwik8.py:graves --config.model.features=700,700,700
benchmark|0.5||--config=configs/benchmark.py
'

row() { # the row of a run
  grep -m 1 "^$1|" <<<"$worth$only_gpu"
}

list=false quick=false prefixes=()
for argument in "$@"; do
  case $argument in
    --list) list=true ;;
    --quick-first) quick=true ;;
    -*)
      echo "tables.sh: no option $argument; it has --list and --quick-first" >&2
      exit 2
      ;;
    *)
      if ! grep -q "^$argument" <<<"$worth$only_gpu"; then
        echo "tables.sh: no run begins with '$argument'; --list names them" >&2
        exit 2
      fi
      prefixes+=("$argument")
      ;;
  esac
done

# What is named is run wherever it belongs; else all of the chosen order is.
order=$(cut -d '|' -f 1 <<<"$worth")
if $quick; then
  order=$gpu
elif [ ${#prefixes[@]} -gt 0 ]; then
  order=$(cut -d '|' -f 1 <<<"$worth$only_gpu")
fi

wanted() { # whether a run was asked for
  [ ${#prefixes[@]} -eq 0 ] && return 0
  local prefix
  for prefix in "${prefixes[@]}"; do
    [[ $1 == "$prefix"* ]] && return 0
  done
  return 1
}

failed=() any=false
for name in $order; do
  wanted "$name" || continue
  any=true
  IFS='|' read -r _ hours needs arguments <<<"$(row "$name")"
  command="main.py ${arguments//\~/$runs} --workdir=$runs/$name"
  if $list; then
    printf '%5s h  python %s\n' "$hours" "$command"
    continue
  fi
  if [ -n "$needs" ] && [ ! -f "$runs/$needs/results.json" ]; then
    echo "== $name: left out, it starts from $needs, which has not finished" >&2
    failed+=("$name")
    continue
  fi
  printf '\n== %s, about %s h on two cores: %s\n' \
    "$name" "$hours" "$(date '+%F %T')" >&2
  # Word splitting is meant: no argument of the table holds a space.
  # shellcheck disable=SC2086
  "${PYTHON:-python}" $command
  status=$?
  # 128 plus a signal's number: the run was stopped and has saved itself.
  [ $status -le 128 ] || exit $status
  [ $status -eq 0 ] || failed+=("$name")
done

if ! $any; then
  echo "tables.sh: --quick-first has no run that begins so" >&2
  exit 2
fi
if [ ${#failed[@]} -gt 0 ]; then
  echo "tables.sh: not finished: ${failed[*]}" >&2
  exit 1
fi
