#!/usr/bin/env bash
# refused.sh PACKAGE...: runs the GPU tests of packages, ./text say, on the pretend GPU with nothing computed, and fails where
# libtorch's own code for CUDA refuses what it is called with: compute.cpp, in a rehearsal's other half, stands before those
# checks. The tests themselves fail here, as every number is wrong. It needs Go.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
cd "$here/../../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
for package in "$@"; do
	go test -c -tags cuda -o "$work/tests" "$package"
	code=0
	(cd "$package" && REHEARSAL_COMPUTE='' timeout 300 "$here/rehearse.sh" run "$work/tests" -test.run GPU -test.v >"$work/log" 2>&1) || code=$?
	ran=$(grep -c '^--- ' "$work/log" || true)
	# An operator's error begins with its name, or that of the call it is in; a test that ends otherwise than by failing broke off.
	if [[ $code != 1 || $ran == 0 ]] || grep -E 'aten::|(backward|grad|linear|linear_gelu|autocast_fork): |[Pp]anic:|CUDA error|c10::|is not played' "$work/log"; then
		echo "$package: with nothing computed: exit code $code after $ran tests; what libtorch refused stands above" >&2
		tail -n 20 "$work/log" >&2
		failed=1
	else
		echo "$package: $ran GPU tests with nothing computed: nothing is refused"
	fi
done
exit "$failed"
