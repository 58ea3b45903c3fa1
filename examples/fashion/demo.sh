#!/usr/bin/env bash
# Does it help to start from a network that has seen other pictures? make demo-vision, or from anywhere:
#
#	examples/fashion/demo.sh FOLDER
#
# pretrain.yaml trains a ResNet-18 on five of Fashion-MNIST's classes. For each of three seeds, transfer.yaml fine-tunes
# that network on 100 pictures of each of the other five, and scratch.yaml trains a new one on the same 500. Each of the
# seven runs is a folder in FOLDER, which must not be there, with what the program printed in its log.txt.
#
# No run sees a test picture: thaw eval measures each of them once, after its last epoch, on the test pictures of its
# classes. The exit code is 0 if the mean of transfer is above that of scratch by more than the larger of their two
# standard deviations over the seeds (with n - 1), and 1 if it is not. The range, best seed less worst, stands beside it.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
test=$here/data/t10k-images-idx3-ubyte.gz
make=fashion
seeds=(1 2 3)
. "$here/../demo-functions.sh"
begin "$@"

# run NAME SPEC KEY=VALUE... trains into $out/NAME, measures the result, prints a line and leaves the accuracy, in per
# cent, in the variable accuracy.
run() {
	train "$@"
	measure "$1"
	accuracy=$(percent accuracy "$1")
	printf '%-12s%7s %% of the test pictures  %4d s\n' "$1" "$accuracy" $((SECONDS - began))
}

run pretrain pretrain.yaml
transfer=() scratch=()
for seed in "${seeds[@]}"; do
	run "transfer-$seed" transfer.yaml seed="$seed" weights="$out/pretrain/weights/best.safetensors"
	transfer+=("$accuracy")
	run "scratch-$seed" scratch.yaml seed="$seed"
	scratch+=("$accuracy")
done

for i in "${!seeds[@]}"; do
	echo "${seeds[i]} ${transfer[i]} ${scratch[i]}"
done | awk '
	function max(a, b) { return a > b ? a : b }
	BEGIN { printf "\n%-12s%10s%10s\n", "seed", "transfer", "scratch" }
	{
		printf "%-12s%10.2f%10.2f\n", $1, $2, $3
		for (k = 2; k <= 3; k++) {
			x[k, NR] = $k
			mean[k] += $k
			if (NR == 1 || $k < low[k]) low[k] = $k
			if (NR == 1 || $k > high[k]) high[k] = $k
		}
	}
	END {
		for (k = 2; k <= 3; k++) {
			mean[k] /= NR
			for (i = 1; i <= NR; i++) deviation[k] += (x[k, i] - mean[k]) ^ 2 / (NR - 1)
			deviation[k] = sqrt(deviation[k])
		}
		spread = max(deviation[2], deviation[3])
		margin = mean[2] - mean[3]
		printf "%-12s%10.2f%10.2f\n", "mean", mean[2], mean[3]
		printf "%-12s%10.2f%10.2f\n", "deviation", deviation[2], deviation[3]
		printf "%-12s%10.2f%10.2f\n\n", "range", high[2] - low[2], high[3] - low[3]
		range = max(high[2] - low[2], high[3] - low[3])
		printf "transfer less scratch: %.2f points. The larger standard deviation is %.2f, the larger range %.2f:\n", margin, spread, range
		if (margin > range)
			print "transfer beats scratch by more than the spread of the seeds, by either measure"
		else if (margin > spread)
			print "transfer beats scratch by more than the standard deviation, but not by more than the range"
		else
			print "transfer does not beat scratch by more than the spread of the seeds"
		exit margin <= spread
	}
' || verdict=$?
echo "$((SECONDS / 60)) min $((SECONDS % 60)) s · runs in $out"
exit "${verdict:-0}"
