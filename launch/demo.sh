#!/usr/bin/env bash
# The whole system on generated patients, on two processes: cohort, shards, pretraining, tuning, table, report.
# Interrupted, it goes on where it stopped; delete the folder demo to begin anew.
set -euo pipefail
cd "$(dirname "$0")/.."
bsou=.venv/bin/bsou

[[ -e demo/cohort ]] || $bsou phantom demo/cohort --config configs/demo-phantom.yaml
$bsou pack demo/cohort/cohort.csv demo/shards --config configs/demo-pack.yaml
$bsou inspect demo/shards --cohort demo/cohort/cohort.csv --sheet demo/contact-sheet.png
for method in mtce mtscon; do
    NPROC=2 launch/torchrun.sh configs/demo.yaml "name=$method" "pretrain.method=$method"
done
echo
$bsou compare bsou-demo --output demo/runs
echo
echo "report: demo/runs/mtscon/report.html"
