#!/usr/bin/env bash
# Does a detector learn more from 240 pictures when its backbone has seen other things? make demo-detect, or, from
# anywhere:
#
#	examples/stamps/demo.sh FOLDER
#
# pretrain.yaml trains a ResNet-18 on small pictures of stamps that are looked for nowhere. For each of three seeds,
# finetune.yaml trains an FCOS on that backbone, and scratch.yaml the same one from random values, on the same pictures.
# frozen.yaml trains only what stands on the backbone, whose output is computed once, for the time of an epoch. Each run is a folder in FOLDER, which must not be there, with what the program
# printed in its log.txt.
#
# No run sees a test picture: thaw eval measures each of them once, after its last epoch. FOLDER/drawn gets the test
# pictures with what the best run finds. The exit code is 0 if the mean average precision of fine-tuning is above that
# of scratch by more than the larger of their ranges over the seeds, best less worst, and 1 if it is not.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
test=$here/composed/test.json
make=stamps
seeds=(1 2 3)
. "$here/../demo-functions.sh"
begin "$@"

# detector NAME SPEC KEY=VALUE... trains, measures the result, prints a line and leaves the average precision, in per
# cent, in the variable ap.
detector() {
	local ap50
	train "$@"
	measure "$1"
	ap=$(percent ap "$1")
	ap50=$(percent ap50 "$1")
	printf '%-12s AP %5.2f  AP50 %5.2f  %4d s\n' "$1" "$ap" "$ap50" $((SECONDS - began))
}

# epoch NAME is the seconds of a run's last epoch.
epoch() {
	awk -F , '
		NR == 1 { for (i = 1; i <= NF; i++) if ($i == "seconds") column = i; next }
		{ last = $column }
		END { printf "%.1f", last }
	' "$out/$1/metrics.csv"
}

train pretrain pretrain.yaml
printf '%-12s%*s%4d s\n' pretrain 25 "" $((SECONDS - began))
backbone=weights=$out/pretrain/weights/best.safetensors
fine=() scratch=() best=
for seed in "${seeds[@]}"; do
	detector "finetune-$seed" finetune.yaml seed="$seed" "$backbone"
	fine+=("$ap")
	if [[ -z $best ]] || awk "BEGIN { exit !($ap > $most) }"; then
		best=finetune-$seed most=$ap
	fi
	detector "scratch-$seed" scratch.yaml seed="$seed"
	scratch+=("$ap")
done
train frozen frozen.yaml "$backbone"
"$thaw" predict "$out/$best" --draw "$out/drawn" --min-score 0.5 "$here"/composed/test/*.jpg >"$out/drawn.txt"

for i in "${!seeds[@]}"; do
	echo "${seeds[i]} ${fine[i]} ${scratch[i]}"
done | awk '
	BEGIN { printf "\naverage precision (AP), per cent\n%-12s%12s%12s\n", "seed", "fine-tuned", "scratch" }
	{
		printf "%-12s%12.2f%12.2f\n", $1, $2, $3
		for (k = 2; k <= 3; k++) {
			mean[k] += $k
			if (NR == 1 || $k < low[k]) low[k] = $k
			if (NR == 1 || $k > high[k]) high[k] = $k
		}
	}
	END {
		for (k = 2; k <= 3; k++) { mean[k] /= NR; range[k] = high[k] - low[k] }
		printf "%-12s%12.2f%12.2f\n", "mean", mean[2], mean[3]
		printf "%-12s%12.2f%12.2f\n\n", "range", range[2], range[3]
		margin = mean[2] - mean[3]
		larger = range[2] > range[3] ? range[2] : range[3]
		printf "fine-tuning less scratch: %.2f points; the larger range is %.2f: ", margin, larger
		print (margin > larger ? "ahead by more than the seeds" : "not ahead by more than the seeds")
		exit margin <= larger
	}
' || verdict=$?
frozen=$(epoch frozen) unfrozen=$(epoch "$best")
awk -v frozen="$frozen" -v all="$unfrozen" 'BEGIN {
	printf "an epoch takes %.1f s with the backbone frozen and its output kept, %.1f s with all trained\n", frozen, all
}'
echo "$((SECONDS / 60)) min $((SECONDS % 60)) s · runs in $out · pictures with what $best finds in $out/drawn"
exit "${verdict:-0}"
