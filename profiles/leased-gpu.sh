#!/usr/bin/env bash
# A GPU that is lent for some minutes: train as much of the paper's campaign as fits, and keep what came of it.
#
#     profiles/leased-gpu.sh MINUTES AT_ONCE FOLDER [flags of sweep]     for example: 9 6 kept --datasets cifar10
#
# AT_ONCE processes train one run each on the same GPU, the most valuable runs first. FOLDER then has records.tar, the
# finished runs without their networks, and unfinished.tar.00, .01, …, the others' checkpoints in pieces of 15 MB. Brought
# along the next time, they are where the same command goes on. Runs with a record in outputs/ are not trained again.
# Ended early by TERM or INT, it still leaves both.
set -euo pipefail
shopt -s nullglob
[ $# -ge 3 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
minutes=$1 at_once=$2 kept=$(realpath -m "$3")
shift 3
cd "$(dirname "$0")/.."
repo=$PWD work=${WORK:-$PWD/build/leased}
mkdir -p "$kept" "$work/runs"
cp -rn outputs/runs/. "$work/runs/"
[ ! -e "$kept/records.tar" ] || tar -xf "$kept/records.tar" -C "$work"
pieces=("$kept"/unfinished.tar.*)
[ ${#pieces[@]} = 0 ] || cat "${pieces[@]}" | tar -xf - -C "$work"

sweep=(python -m gdwlib sweep paper --preset paper --budget "${minutes}m" --outputs "$work" "$@")
"${sweep[@]}" --list > /dev/null # says how many are missing, and complains of flags
for ((k = 1; k <= at_once; k++)); do
	OMP_NUM_THREADS=1 "${sweep[@]}" > "$work/sweep-$k.log" 2>&1 &
done
trap 'kill $(jobs -p) 2> /dev/null; wait' TERM INT
wait || true
trap - TERM INT

cd "$work/runs"
finished=() unfinished=()
for run in *; do
	if [ -e "$run/checkpoint.pt" ]; then
		unfinished+=("runs/$run")
	elif [ -e "$run/result.json" ] && [ ! -e "$repo/outputs/runs/$run/result.json" ]; then
		finished+=("runs/$run")
	fi
done
cd "$work"
rm -f "${pieces[@]}"
[ ${#finished[@]} = 0 ] || tar -cf "$kept/records.tar" --exclude '*.pt' "${finished[@]}"
[ ${#unfinished[@]} = 0 ] || tar -cf - "${unfinished[@]}" | split -b 15M -d - "$kept/unfinished.tar."
echo "${#finished[@]} runs finished, ${#unfinished[@]} unfinished: $kept"
