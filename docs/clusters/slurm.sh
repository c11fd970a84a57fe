#!/bin/bash
# A campaign on several SLURM nodes: sbatch docs/clusters/slurm.sh CONFIG.yaml RUN_DIR. The checkout and RUN_DIR lie on
# a file system that all nodes see. The same command goes on after the time limit.
#SBATCH --job-name=kossel
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
set -euo pipefail

config=$(realpath "${1:?usage: sbatch slurm.sh CONFIG.yaml RUN_DIR}")
run=$(realpath -m "${2:?usage: sbatch slurm.sh CONFIG.yaml RUN_DIR}")
kossel=${KOSSEL:-${SLURM_SUBMIT_DIR:-$PWD}}
export PATH=$kossel/.venv/bin:$PATH OMP_NUM_THREADS=1

# Who reaches the head's port runs code as you: a token, in a file of your own, and a folder that nobody else enters.
mkdir -m 700 -p "$run"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$run/.ray-token
(umask 077 && openssl rand -hex 32 > "$RAY_AUTH_TOKEN_PATH")
export RAY_TMPDIR=${TMPDIR:-/tmp}/kossel-$UID
mkdir -m 700 -p "$RAY_TMPDIR" "$RAY_TMPDIR/ray"

nodes=${SLURM_NNODES:-1}
head=$(hostname --ip-address | awk '{print $1}')
launch=()
if [ -n "${SLURM_JOB_ID:-}" ]; then
    first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
    head=$(srun --nodes=1 --ntasks=1 --nodelist="$first" hostname --ip-address | awk '{print $1}')
    launch=(srun --nodes="$nodes" --ntasks="$nodes" --export=ALL)
fi

# `ray symmetric-run` starts Ray on every node, the command on the first, and ends Ray everywhere when that is done.
exec "${launch[@]}" ray symmetric-run --address "$head:${RAY_PORT:-6379}" --min-nodes "$nodes" \
    --num-cpus "${SLURM_CPUS_PER_TASK:-$(getconf _NPROCESSORS_ONLN)}" --disable-usage-stats \
    -- python "$kossel/growth/run.py" "$config" --run-dir "$run" "${@:3}"
