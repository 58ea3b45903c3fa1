#!/usr/bin/env bash
# machines.sh: what a program with CUDA says on machines whose GPU does not do: one line with the mend, from the doctor and
# from a run that asks for the GPU, and with device "auto" the CPU and why. It needs Go.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
cd "$here/../../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -tags cuda -o "$work/thaw" ./cmd/thaw
go test -c -tags cuda -o "$work/tests" ./finetune/train
failed=0

# expect WHAT CODE PATTERN COMMAND...
expect() {
	local what=$1 want=$2 pattern=$3 code=0
	shift 3
	REHEARSAL_COMPUTE='' "$here/rehearse.sh" run "$@" >"$work/out" 2>&1 || code=$?
	if [[ $code != "$want" ]] || ! grep -qE "$pattern" "$work/out"; then
		printf '%s: %s: exit code %d, and not %d with /%s/:\n' "$REHEARSAL_MACHINE" "$what" "$code" "$want" "$pattern" >&2
		cat "$work/out" >&2
		failed=1
	fi
}

while IFS='|' read -r machine line; do
	export REHEARSAL_MACHINE=$machine
	expect doctor 1 "^problem   cuda(:0|: devices)?: $line" "$work/thaw" doctor
	expect "bench on cuda" 2 "^thaw: bench: --device: cuda:0: $line" "$work/thaw" bench bert-base-head-len128-bs16 --device cuda
	expect "device auto" 0 "^--- PASS: TestNoGPU .*" "$work/tests" -test.v -test.run '^TestNoGPU$'
	((failed)) || echo "$machine: told by the doctor and by runs"
done <<'EOT'
no-driver|no NVIDIA driver answers on this machine: a GPU's driver .* must be installed
old-driver|the NVIDIA driver is too old: it supports CUDA up to 12\.8, this program needs 13\.0; install driver 580 or later
updated-driver|no GPU answers: system has unsupported .*; restart the machine
no-gpu|the driver shows this process no GPU \(nvidia-smi tells what it has\)
old-gpu|rehearsal \(no GPU\) has compute capability 6\.1: libtorch 2\.11\.0 for CUDA 13 has kernels for 7\.5 and later
EOT
exit "$failed"
