# shellcheck shell=bash
# What both launchers share; sourced by them with their own arguments. It checks the config before any rank starts,
# sets PYTHON, NPROC, NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT and OMP_NUM_THREADS, and defines run_ranks.

if (($# == 0)) || [[ $1 == -h || $1 == --help ]]; then
    cat >&2 <<USAGE
usage: [NPROC=2] $0 CONFIG [key.path=value ...]

Runs 'bsou train CONFIG ...' on several processes. From the environment:
  NPROC        processes on this node, one per GPU (default 2)
  NNODES       nodes (default 1); run this script once on each of them
  NODE_RANK    which node this is, from 0 (default 0)
  MASTER_ADDR  address of node 0 (default 127.0.0.1; required with several nodes)
  MASTER_PORT  a free port there (default: any free one; 29500 with several nodes)
  MAX_RESTARTS times that ranks are started anew after a failure, from their last checkpoint (default 0; torchrun only)
  PYTHON       interpreter (default: that of the active environment, else .venv of this checkout, else python3)

SIGTERM, SIGUSR1, SIGUSR2 and Ctrl-C are handed on to the ranks of this node: the run saves and ends with exit code 75;
the same command goes on from there. A second SIGTERM or Ctrl-C goes to the launcher, which ends the ranks.
USAGE
    exit 2
fi

NPROC=${NPROC:-2}
NNODES=${NNODES:-1}
NODE_RANK=${NODE_RANK:-0}
MAX_RESTARTS=${MAX_RESTARTS:-0}
for name in NPROC NNODES; do
    if ! [[ ${!name} =~ ^[1-9][0-9]*$ ]]; then
        echo "$name is '${!name}'; it must be a whole number from 1" >&2
        exit 2
    fi
done
if ! [[ $MAX_RESTARTS =~ ^(0|[1-9][0-9]*)$ ]]; then
    echo "MAX_RESTARTS is '$MAX_RESTARTS'; it must be a whole number from 0" >&2
    exit 2
fi
if ! [[ $NODE_RANK =~ ^(0|[1-9][0-9]*)$ ]] || ((NODE_RANK >= NNODES)); then
    echo "NODE_RANK is '$NODE_RANK'; with NNODES=$NNODES it must be from 0 to $((NNODES - 1))" >&2
    exit 2
fi
if ((NNODES > 1)) && [[ -z ${MASTER_ADDR:-} ]]; then
    echo "NNODES is $NNODES but MASTER_ADDR is not set; set it to the address of the node with NODE_RANK=0" >&2
    exit 2
fi

checkout=$(dirname "${BASH_SOURCE[0]}")/..
if [[ -z ${PYTHON:-} ]]; then
    if [[ -z ${VIRTUAL_ENV:-}${CONDA_PREFIX:-} && -x $checkout/.venv/bin/python ]]; then
        PYTHON=$checkout/.venv/bin/python
    else
        PYTHON=python3
    fi
fi

# In a plain process: the user's mistakes end here with exit code 2 and one message, not one from every rank.
"$PYTHON" -m bsou_dist.cli train "$@" --check "$((NPROC * NNODES))"

MASTER_ADDR=${MASTER_ADDR:-127.0.0.1}
if [[ -z ${MASTER_PORT:-} ]]; then
    if ((NNODES > 1)); then
        MASTER_PORT=29500
    else
        MASTER_PORT=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
    fi
fi
threads=$(($(nproc) / NPROC))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((threads > 0 ? threads : 1))}

# Runs a launcher, and hands signals on to its ranks: told to stop itself, it would kill them within 30 seconds, saved
# or not. Ends with the launcher's exit code, or with 75 or 130 when the ranks have saved and stopped (see rank.py).
run_ranks() {
    BSOU_STOPPED=$(mktemp)
    export BSOU_STOPPED
    set -m # the launcher gets a process group of its own, so that Ctrl-C comes to it through here alone
    "$@" &
    launcher=$!
    told=""
    for name in INT TERM USR1 USR2; do
        # shellcheck disable=SC2064 # the name as it is now
        trap "hand_on $name" "$name"
    done
    trap 'hand_on TERM' HUP
    code=0
    while kill -0 "$launcher" 2>/dev/null; do
        wait "$launcher" || : # ends early at each signal
    done
    wait "$launcher" || code=$?
    if ((code == 0)) && [[ -s $BSOU_STOPPED ]]; then
        code=$(<"$BSOU_STOPPED")
    fi
    rm -f "$BSOU_STOPPED"
    exit "$code"
}

hand_on() {
    local ranks
    read -ra ranks <"/proc/$launcher/task/$launcher/children" || :
    if ((${#ranks[@]} == 0)) || [[ -n $told && $1 != USR? ]]; then
        kill -s "$1" "$launcher" || :
    else
        kill -s "$1" "${ranks[@]}" || :
    fi
    told=yes
}
