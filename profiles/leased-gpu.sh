#!/usr/bin/env bash
# A GPU that is lent for some minutes: train as much of the paper's campaign as fits, and keep what came of it.
#
#     profiles/leased-gpu.sh MINUTES AT_ONCE FOLDER [flags of sweep]     for example: 9 2 kept --datasets cifar10 --capture
#
# AT_ONCE processes train one run each on the same GPU, the most valuable runs first. FOLDER then has the finished runs
# without their networks in records.tgz.00, .01, …, and the others' checkpoints in unfinished.tgz.00, .01, …: pieces of
# 15 MB. Brought along the next time, they are where the same command goes on; ended early by TERM or INT, it still leaves
# them. `cat kept/records.tgz.* | tar -xz -C outputs` keeps the records for good: runs that have one there are neither
# trained nor packed again. In a copy of the project without .git, GDWLIB_REVISION tells records which one it is.
set -euo pipefail
shopt -s nullglob
[ $# -ge 3 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
minutes=$1 at_once=$2 kept=$(realpath -m "$3")
shift 3
cd "$(dirname "$0")/.."
repo=$PWD work=${WORK:-$PWD/build/leased}
mkdir -p "$kept" "$work/runs"
cp -rn outputs/runs/. "$work/runs/"
for packed in records unfinished; do
	pieces=("$kept/$packed".tgz.*)
	[ ${#pieces[@]} = 0 ] || cat "${pieces[@]}" | tar -xzf - -C "$work"
done

sweep=(python3 -m gdwlib sweep paper --preset paper --runs-per-gpu "$at_once" --outputs "$work" "$@")
"${sweep[@]}" --list > /dev/null # says how many are missing, and complains of flags
left=$(awk -v minutes="$minutes" -v gone="$SECONDS" 'BEGIN { print minutes * 60 - gone }')
for ((k = 1; k <= at_once; k++)); do
	OMP_NUM_THREADS=1 "${sweep[@]}" --budget "$left" > "$work/sweep-$k.log" 2>&1 &
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
new=$(mktemp -d "$kept/packing.XXXXXX")
[ ${#finished[@]} = 0 ] || tar -czf - --exclude '*.pt' "${finished[@]}" | split -b 15M -d - "$new/records.tgz."
[ ${#unfinished[@]} = 0 ] || tar -czf - "${unfinished[@]}" | split -b 15M -d - "$new/unfinished.tgz."
rm -f "$kept"/{records,unfinished}.tgz.*
find "$new" -type f -exec mv -t "$kept" {} +
rmdir "$new"
echo "${#finished[@]} runs finished, ${#unfinished[@]} unfinished: $kept"
