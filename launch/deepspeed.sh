#!/usr/bin/env bash
# 'bsou train' under the DeepSpeed launcher; run it without arguments for its usage.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if ((MAX_RESTARTS > 0)); then
    echo "MAX_RESTARTS is '$MAX_RESTARTS', but DeepSpeed's launcher restarts nothing; use torchrun.sh, or leave it out" >&2
    exit 2
fi

if [[ -z ${DS_ACCELERATOR:-} ]] && ! nvidia-smi -L >/dev/null 2>&1; then
    export DS_ACCELERATOR=cpu
fi

# The `deepspeed` command is a front for this module that leaves the ranks running when it is told to stop, takes
# devices 0 to NPROC-1 whatever CUDA_VISIBLE_DEVICES says, and wants a host file for several nodes. The module wants
# the devices of every node, as JSON in base64.
visible=${CUDA_VISIBLE_DEVICES:-$(seq -s, 0 $((NPROC - 1)))}
devices=$(cut -d, -f "1-$NPROC" <<<"$visible")
world=""
for ((node = 0; node < NNODES; node++)); do
    world+="${world:+,}\"node$node\":[\"${devices//,/\",\"}\"]"
done

run_ranks "$PYTHON" -m deepspeed.launcher.launch --world_info "$(base64 -w 0 <<<"{$world}" | tr '+/' '-_')" \
    --node_rank "$NODE_RANK" --master_addr "$MASTER_ADDR" --master_port "$MASTER_PORT" --log_level error \
    --no_local_rank "$(dirname "${BASH_SOURCE[0]}")/rank.py" train "$@"
