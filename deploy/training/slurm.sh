#!/bin/bash
# One policy per task of the array, from the root of the repository:
#
#   cargo build --release -p tureen-trainer
#   sbatch deploy/training/slurm.sh
#
# The task's id picks the configuration, sorted by name (concise 0, elementary 1, ...); the array has as many tasks as there are
# configurations. A task that is requeued goes on from its last checkpoint.
#SBATCH --job-name=tureen-trainer
#SBATCH --array=0-7
#SBATCH --cpus-per-task=4
#SBATCH --mem=6G
#SBATCH --time=12:00:00
#SBATCH --requeue
set -euo pipefail

exec "${TUREEN_TRAINER:-target/release/tureen-trainer}" --threads="${SLURM_CPUS_PER_TASK:-1}" \
    ppo --configs="${CONFIGS:-crates/trainer/configs}" --index="$SLURM_ARRAY_TASK_ID" --resume "$@"
