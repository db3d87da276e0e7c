#!/usr/bin/env bash
# 'bsou train' under torchrun; run it without arguments for its usage.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

here=$(dirname "${BASH_SOURCE[0]}")
if ((NNODES > 1 && MAX_RESTARTS > 0)); then # nodes that meet again after a failure; they number themselves
    meeting=(--rdzv-backend c10d --rdzv-endpoint "$MASTER_ADDR:$MASTER_PORT" --rdzv-id "bsou$MASTER_PORT"
        --rdzv-conf "is_host=$((NODE_RANK == 0))")
else
    meeting=(--node-rank "$NODE_RANK" --master-addr "$MASTER_ADDR" --master-port "$MASTER_PORT")
fi

run_ranks "$PYTHON" "$here/torchrun_with_exit_code.py" --nnodes "$NNODES" --nproc-per-node "$NPROC" \
    --max-restarts "$MAX_RESTARTS" "${meeting[@]}" "$here/rank.py" train "$@"
