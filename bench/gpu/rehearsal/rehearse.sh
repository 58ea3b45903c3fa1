#!/usr/bin/env bash
# Runs the bundle for a machine with a GPU, or any program built with -tags cuda, on a pretend GPU: see usage.
set -euo pipefail

usage() {
	cat <<EOT
usage: rehearse.sh STEP...        steps of the bundle in dist/gpu: doctor, test, demo (make gpu-bundle makes it)
       rehearse.sh run COMMAND... any command; in it, what was built with -tags cuda finds a GPU

The pretend GPU has no kernels. Operators run on the CPU, on memory that stands for the device's; streams, events, graphs,
captures and the allocator are CUDA's and libtorch's own rules and code (docs/decisions/007). So a rehearsal shows that the
program does what it should, and never how fast.

REHEARSAL_COMPUTE  empty: nothing is computed, every kernel that libtorch launches is a line in the record
REHEARSAL_MACHINE  no-driver, old-driver, updated-driver, no-gpu, old-gpu: a machine whose GPU does not do
REHEARSAL_GPUS     how many GPUs there are, 2 unless it says otherwise; a process uses one
REHEARSAL_RECORD   a path: what is called is written to PATH.PID, a line each: thread, call, stream, more
OUT                as of the bundle's run.sh, by default dist/rehearsal/out
EOT
}

[[ $# -gt 0 && $1 != -h && $1 != --help ]] || { usage && exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../../.." && pwd -P)
libtorch=$(readlink -f "$root/third_party/libtorch")
[[ -e $libtorch/lib/libtorch_cuda.so ]] || {
	echo "thaw: third_party/libtorch has no CUDA: third_party/fetch.sh --set cuda-headers brings it" >&2
	exit 1
}

device=$root/dist/rehearsal/device
if [[ ! -e $device/.built || -n $(find "$here" "$libtorch/lib" -newer "$device/.built" -type f) ]]; then
	rm -rf "$device"
	mkdir -p "$device"
	touch "$device/.began" # what changes during the build is newer
	"$here/build.sh" "$device" "$libtorch"
	mv "$device/.began" "$device/.built"
fi

libraries=("$device"/lib*.so.*)
preload=$(IFS=: && echo "${libraries[*]}")
# One thread for operators: how the CPU shares out a sum depends on the thread that asks for it, and graphs are compared bit
# for bit. Many for Go, as on a machine with a GPU: calls then come from one thread and another.
pretend() {
	env LD_PRELOAD="$preload" REHEARSAL_COMPUTE="${REHEARSAL_COMPUTE-$device/compute.so}" \
		REHEARSAL_GPUS="${REHEARSAL_GPUS:-2}" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" GOMAXPROCS="${GOMAXPROCS:-16}" LD_LIBRARY_PATH="$libtorch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$@"
}

if [[ $1 == run ]]; then
	pretend "${@:2}"
	exit
fi
[[ -x $root/dist/gpu/run.sh ]] || {
	echo "thaw: there is no dist/gpu: make gpu-bundle makes it" >&2
	exit 1
}
while read -r -d '' source; do
	[[ ! $root/$source -nt $root/dist/gpu/MANIFEST ]] || {
		echo "thaw: dist/gpu is older than $source: make gpu-bundle" >&2
		break
	}
done < <(git -C "$root" ls-files -z -- '*.go' '*.cpp' '*.h' '*.hh' 'bench/gpu/*.sh' '*.py')
for step in "$@"; do
	LIBTORCH=$libtorch OUT=${OUT:-$root/dist/rehearsal/out} WITHIN=${WITHIN:-3600} TESTS_WITHIN=${TESTS_WITHIN:-2400} pretend "$root/dist/gpu/run.sh" "$step"
done
