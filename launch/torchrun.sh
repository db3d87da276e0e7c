#!/usr/bin/env bash
# 'bsou train' under torchrun; run it without arguments for its usage.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

exec "$PYTHON" "$(dirname "${BASH_SOURCE[0]}")/torchrun_with_exit_code.py" \
    --nnodes "$NNODES" --node-rank "$NODE_RANK" --nproc-per-node "$NPROC" \
    --master-addr "$MASTER_ADDR" --master-port "$MASTER_PORT" --module bsou_dist.cli train "$@"
