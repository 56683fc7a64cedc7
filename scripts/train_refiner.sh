#!/bin/sh
# Make the weights of the learned refiner and scorer from nothing, and measure them on objects that nobody trained on.
# Resumable: start it again after an interruption. $1: folder of the runs (default: runs). About an hour on two idle
# cores (7 to 12 steps a second).
set -eu
cd "$(dirname "$0")/.."
storm="${STORM:-.venv/bin/storm}"
runs="${1:-runs}"

train() { # kind, further options
  kind="$1"; shift
  while :; do
    resume=""
    [ -f "$runs/$kind/checkpoint.pt" ] && resume="--resume"
    # shellcheck disable=SC2086
    "$storm" train "$kind" --config "config/refiner/$kind.yaml" --set "training.out=$runs/$kind" "$@" $resume \
      --json "$runs/$kind.json"
    # A slice ends after training.minutes; the run ends with its last step.
    "${PYTHON:-.venv/bin/python}" -c "
import json, sys, yaml
step = json.load(open('$runs/$kind.json'))['step']
sys.exit(step < yaml.safe_load(open('$runs/$kind/config.yaml'))['training']['steps'])" && break
  done
}

mkdir -p "$runs"
train refiner
train scorer --set "training.init=$runs/refiner/weights.safetensors"
"$storm" evaluate refiner --split test --scorer --set "refiner.weights=$runs/refiner/weights.safetensors" \
  --set "refiner.scorer_weights=$runs/scorer/weights.safetensors" --json "$runs/refiner_test.json"
