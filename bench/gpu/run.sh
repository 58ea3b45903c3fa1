#!/usr/bin/env bash
# Proves Thaw on the GPU of this machine, without Go, a compiler or a network: the bundle that `make gpu-bundle` makes.
# It finds libtorch here, and writes what it finds out to the folder named by OUT. See usage below.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
pinned=2.11.0 # the libtorch that the programs were built with
within=${WITHIN:-525}
device=${DEVICE:-cuda}

usage() {
	cat <<EOT
usage: run.sh doctor|test|bench|peers|demo|report|all

  doctor  what Thaw finds here, and whether it works                            doctor.json
  test    the tests of every package that has GPU tests, those first            tests.log
  bench   Thaw's training steps on random samples                               bench.json, bench.log
  peers   PyTorch's, with the same names                                        peers.jsonl
  demo    fine-tunes a 6-layer BERT on movie reviews, on the GPU and the CPU    demo.log
  report  what the above found, as one JSON object and one table                result.json, result.md
  all     all of these, PyTorch between two passes of Thaw, within 9 minutes

OUT      the folder to write to, by default ./out; what an earlier run left there is overwritten
LIBTORCH a folder with lib/libtorch_cuda.so, or that lib folder; else the torch of PYTHON, python3 or python is taken,
         then what LD_LIBRARY_PATH and ldconfig know
PYTHON   the Python with torch and transformers, for peers
CASES    only the cases of bench and peers that match this regular expression
DEVICE   cuda; with cpu, bench, peers and demo run on the CPU: slow, to try the bundle where there is no GPU
WITHIN   seconds that all may take, by default 525
EOT
}

die() {
	printf 'thaw: %s\n' "$*" >&2
	exit 1
}

say() { printf '== %s (%d s)\n' "$*" "$SECONDS"; }

# ---- libtorch ----------------------------------------------------------------------------------------------

# pythons: every Python to ask, each once.
pythons() {
	local p
	{
		if [[ ${PYTHON:-} ]]; then type -P "$PYTHON" || true; fi
		type -aP python3 python || true
	} | while read -r p; do
		[[ $p == /* ]] || p=$PWD/$p
		echo "$p"
	done | awk '!seen[$0]++'
}

# torch_of PYTHON: the folder of its torch, which is not imported. In /, as Thaw's own folder torch would be found here.
torch_of() {
	(cd / && timeout 30 "$1" -c '
import importlib.util, os
found = importlib.util.find_spec("torch")
if found and found.origin:
    print(os.path.dirname(os.path.realpath(found.origin)))') 2>/dev/null || true
}

libtorch= # the folder of libtorch_cuda.so
torch=    # the folder above it, where the version stands

find_libtorch() {
	local p dir
	if [[ ${LIBTORCH:-} ]]; then
		for dir in "$LIBTORCH/lib" "$LIBTORCH"; do
			if [[ -e $dir/libtorch_cuda.so ]]; then
				libtorch=$(cd "$dir" && pwd -P)
				return
			fi
		done
		die "LIBTORCH is $LIBTORCH: there is no libtorch_cuda.so in it nor in its lib; name the folder of a torch $pinned built for CUDA"
	fi
	local without=
	while read -r p; do
		dir=$(torch_of "$p")
		[[ $dir ]] || continue
		if [[ -e $dir/lib/libtorch_cuda.so ]]; then
			libtorch=$dir/lib
			return
		fi
		without=$dir
	done < <(pythons)
	while read -r dir; do
		if [[ -e $dir/libtorch_cuda.so ]]; then
			libtorch=$(cd "$dir" && pwd -P)
			return
		fi
	done < <(
		tr : '\n' <<<"${LD_LIBRARY_PATH:-}"
		{ ldconfig -p || /sbin/ldconfig -p || true; } 2>/dev/null | sed -n 's|.* => \(.*\)/libtorch_cuda\.so$|\1|p'
	)
	[[ -z $without ]] ||
		die "the torch in $without has no CUDA (no lib/libtorch_cuda.so): install torch $pinned for CUDA, or name another with LIBTORCH"
	die "no libtorch found: install torch $pinned for CUDA in this machine's Python, or name its folder with LIBTORCH"
}

# version_of TORCH: as its files say.
version_of() {
	local file found
	for file in "$1/version.py" "$1/include/torch/headeronly/version.h"; do
		[[ -f $file ]] || continue
		found=$(sed -n 's/^__version__ = .\([^"'\'']*\).$/\1/p; /^#define TORCH_VERSION \\$/{n; s/[ "]//g; p}' "$file")
		if [[ $found ]]; then
			echo "${found%%$'\n'*}"
			return
		fi
	done
}

# check_host: what the programs need, each with its one line.
check_host() {
	local glibc version site dir
	[[ $(uname -sm) == "Linux x86_64" ]] || die "this is $(uname -sm): the bundle is for Linux x86_64"
	glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || die "this system's C library is not glibc: the bundle needs glibc 2.36 or later"
	glibc=${glibc#glibc }
	[[ $(printf '2.36\n%s\n' "$glibc" | sort -V | head -n 1) == 2.36 ]] ||
		die "this system has glibc $glibc: the bundle needs 2.36 or later, as Debian 12 and Ubuntu 24.04 have"
	find_libtorch
	torch=$(dirname "$libtorch")
	version=$(version_of "$torch")
	[[ ${version%%+*} == "$pinned" ]] ||
		die "libtorch in $libtorch is ${version:-of an unknown version}: the bundle was built with $pinned; install torch $pinned, or name its folder with LIBTORCH"
	site=$(dirname "$torch")
	path=$libtorch
	for dir in "$site"/nvidia/*/lib; do # where wheels have CUDA's libraries
		[[ ! -d $dir ]] || path+=:$dir
	done
	path+=:$work/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
	local why code=0
	why=$(native 120 "$work/bin/thaw" version 2>&1) || code=$? # the first time, two gigabytes are read
	[[ $code != 124 && $code != 137 ]] || die "the program did not start within 120 s with the libtorch in $libtorch: is its disk slow?"
	[[ $code == 0 ]] ||
		die "the program does not start with the libtorch in $libtorch: $(sed -n '$s/.*error while loading shared libraries: //; $p' <<<"$why"); torch's wheel brings what it needs as packages named nvidia-*, beside it"
}

path= # of libraries, for what Thaw built

# native SECONDS COMMAND...: runs a program of the bundle, for so long at most.
native() {
	local limit=$1
	shift
	timeout -k 5 "$limit" env LD_LIBRARY_PATH="$path" "$@"
}

# need_device: the doctor's line where no GPU answers.
need_device() {
	[[ $device == cuda ]] || return 0
	[[ -s $out/doctor.json && ${doctored:-} ]] || doctor
}

# ---- time --------------------------------------------------------------------------------------------------

reserve=0 # seconds for the steps that are yet to come, so that one that hangs leaves them some

# limit SECONDS: that, or what is left of the time for all.
limit() {
	local left=$((within - reserve - SECONDS))
	echo $((left < 2 ? 2 : left < $1 ? left : $1))
}

# ---- steps -------------------------------------------------------------------------------------------------

doctor() {
	local problem
	if native "$(limit 100)" "$work/bin/thaw" doctor --json >"$out/doctor.json" 2>"$work/doctor.err"; then
		python3 "$work/report.py" doctor "$out/doctor.json"
		doctored=yes
		return
	fi
	problem=$(python3 "$work/report.py" problem "$out/doctor.json" 2>/dev/null) || problem=$(tail -n 1 "$work/doctor.err")
	if [[ $device == cpu ]]; then
		echo "the doctor: ${problem:-it did not end in time} (DEVICE=cpu: going on)"
		return
	fi
	die "${problem:-the doctor did not end in time}"
}

# tests: each package's GPU tests first, then its others. Their tables run in the packages' folders.
tests() {
	local package names which end=$((SECONDS + $(limit 130))) left code failed=0 args
	: >"$out/tests.log"
	for which in gpu others; do
		while IFS=$'\t' read -r package names <&4; do
			if [[ $which == gpu ]]; then args=(-test.run "^($names)\$"); else args=(-test.skip "^($names)\$"); fi
			left=$((end - SECONDS))
			((left < 60)) || left=60 # one that hangs must not keep the others from running
			code=0
			if ((left < 4)); then
				code=124
			else
				# Go's own limit comes first: it tells what every goroutine waits for.
				(cd "$work/tests/$package" && native "$left" ./tests -test.v -test.timeout "$((left - 2))s" "${args[@]}") \
					>>"$out/tests.log" 2>&1 4<&- || code=$?
			fi
			printf '== %s %s exit %d\n' "$package" "$which" "$code" | tee -a "$out/tests.log"
			[[ $code == 0 ]] || failed=1
		done 4<"$work/tests.tsv"
	done
	python3 "$work/report.py" tests "$out/tests.log"
	return "$failed"
}

# bench PASS: the cases with a target, then, in the first pass, the others.
targets='^(bert-base-full-len128-bs(16|128)|resnet50-full-bs32)$'
bench() {
	local pass=$1 failed=0
	[[ $pass != 1 ]] || : >"$out/bench.log"
	need_device
	if [[ ${CASES:-} ]]; then
		bench_part "$pass" all "$CASES" 0.2 3 100 || failed=1
	else
		bench_part "$pass" targets "$targets" 0.4 5 50 || failed=1
		if [[ $pass == 1 ]]; then
			bench_part 1 others "$others" 0.2 3 80 || failed=1
		fi
	fi
	python3 "$work/report.py" bench "$work/bench" "$out/bench.log" "$out/bench.json"
	return "$failed"
}

# RE2, which Thaw uses, knows no "not": what targets leaves, written out.
others='^(bert-base-(top4|head)-|bert-base-full-real|resnet50-(layer4|head)-|resnet50-full-bs256)'

# bench_part PASS NAME CASES SECONDS ROUNDS LIMIT
bench_part() {
	local code=0
	mkdir -p "$work/bench"
	printf '== pass %s %s\n' "$1" "$2" >>"$out/bench.log"
	native "$(limit "$6")" "$work/bin/thaw" bench "$3" --device "$device" --seconds "$4" --rounds "$5" \
		--json "$work/bench/$1-$2.json" 2>&1 | tee -a "$out/bench.log" || code=$?
	printf '== exit %d\n' "$code" >>"$out/bench.log"
	return "$code"
}

# python_with_torch: the Python for the peers.
python_with_torch() {
	local p
	while read -r p; do
		if (cd / && timeout 30 "$p" -c '
import importlib.util, sys
sys.exit(any(importlib.util.find_spec(m) is None or importlib.util.find_spec(m).origin is None
             for m in ("torch", "torchvision", "transformers")))') 2>/dev/null; then
			echo "$p"
			return
		fi
	done < <(pythons)
	return 1
}

peers() {
	local python failed=0
	need_device
	: >"$out/peers.jsonl"
	if ! python=$(python_with_torch); then
		echo "thaw: no Python here has torch, torchvision and transformers: PyTorch is not measured; name one with PYTHON" >&2
		return 1
	fi
	# Compiling takes most of a minute a case: the two for which there is a target, and in a process of their own, so that
	# a failure there takes nothing else along.
	peers_part "$python" "${CASES:-$targets}" eager,graph "$([[ ${CASES:-} ]] && echo 200 || echo 60)" || failed=1
	[[ ${CASES:-} || $device == cpu ]] || peers_part "$python" '^bert-base-full-len128-' compile 110 || failed=1
	[[ ${CASES:-} ]] || peers_part "$python" "$others" eager,graph 90 || failed=1
	return "$failed"
}

# peers_part PYTHON CASES MODES LIMIT
peers_part() {
	local code=0 limit
	limit=$(limit "$4")
	# Caches of its own: every run compiles, and leaves nothing in the home folder.
	(cd "$work" && timeout -k 5 "$limit" env TORCHINDUCTOR_CACHE_DIR="$work/inductor" TRITON_CACHE_DIR="$work/triton" \
		HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 "$1" "$work/peers/gpu_steps.py" --cases "$2" --modes "$3" \
		--device "$device" --seconds 0.4 --rounds 5 --deadline "$((limit > 12 ? limit - 8 : limit))") \
		2>"$work/peers.err" | tee -a "$out/peers.jsonl" || code=$?
	python3 "$work/report.py" process "$3" "$code" "$work/peers.err" >>"$out/peers.jsonl"
	[[ $code == 0 ]] || printf 'thaw: gpu_steps.py (%s) ended with exit code %d: %s\n' "$3" "$code" "$(tail -n 1 "$work/peers.err")" >&2
	return "$code"
}

demo() {
	local failed=0
	need_device
	: >"$out/demo.log"
	if [[ $device == cuda ]]; then
		demo_on cuda 60 || failed=1
		demo_on cpu 100 || failed=1
	else
		demo_on cpu 500 || failed=1
	fi
	return "$failed"
}

# demo_on DEVICE LIMIT
demo_on() {
	local code=0
	printf '== demo on %s\n' "$1" | tee -a "$out/demo.log"
	native "$(limit "$2")" "$work/bin/thaw" train "$work/demo/reviews.yaml" device="$1" out="$work/runs/$1" \
		>"$work/demo.out" 2>&1 || code=$?
	tr '\r' '\n' <"$work/demo.out" | tail -n 60 >>"$out/demo.log" # a terminal's progress, if it shows one
	python3 "$work/report.py" demo "$1" "$code" "$work/runs/$1" | tee -a "$out/demo.log"
	rm -rf "$work/runs/$1"
	return "$code"
}

report() {
	python3 "$work/report.py" result "$here/MANIFEST" "$out"
}

# step NAME COMMAND...: one step of all; what fails is noted, and the next goes on.
failed=()
step() {
	say "$1"
	"${@:2}" || failed+=("$1")
}

all() {
	# What an earlier run left must not pass for this one's.
	(cd "$out" && rm -f doctor.json tests.log bench.json bench.log peers.jsonl demo.log result.json result.md)
	say doctor
	doctor
	reserve=$((within / 5)) # the second pass takes 40 s, the demo 50 s
	step test tests
	step "bench, pass 1" bench 1
	step peers peers
	reserve=$((within / 8))
	step "bench, pass 2" bench 2
	reserve=$((within / 100))
	step demo demo
	step report report
	say "done; what was written is in $out"
	[[ ${#failed[@]} == 0 ]] || die "failed: $(printf '%s; ' "${failed[@]}" | sed 's/; $//')"
}

# ---- the start ---------------------------------------------------------------------------------------------

unpack() {
	command -v python3 >/dev/null || die "python3 not found: the bundle needs it"
	work=$(mktemp -d "${TMPDIR:-/tmp}/thaw-gpu.XXXXXX" 2>/dev/null) ||
		die "cannot write to ${TMPDIR:-/tmp}: name another folder with TMPDIR"
	trap 'rm -rf "$work"' EXIT
	trap 'exit 130' INT TERM HUP
	# Python, as tar and gzip need not be there; and what copied the bundle may have lost who may execute.
	python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))' \
		"$here/payload.tar.gz" "$work" 2>"$work/unpack.err" ||
		die "cannot unpack $here/payload.tar.gz to $work: $(tail -n 1 "$work/unpack.err")"
	(cd "$work" && sed -n 's|^\([0-9a-f]\{64\}  \)payload/|\1|p' "$here/MANIFEST" | sha256sum --quiet -c -) >"$work/unpack.err" 2>&1 ||
		die "the bundle in $here is damaged: $(head -n 1 "$work/unpack.err")"
	chmod u+x "$work/bin/thaw"
	find "$work/tests" -name tests -type f -exec chmod u+x {} +
}

main() {
	case ${1:-} in
	doctor | test | bench | peers | demo | report | all) ;;
	-h | --help) usage && exit 0 ;;
	*) usage >&2 && exit 2 ;;
	esac
	[[ $# == 1 ]] || { usage >&2 && exit 2; }
	[[ $device == cuda || $device == cpu ]] || die "DEVICE is $device: write cuda or cpu"
	if ! { mkdir -p "${OUT:-out}" && out=$(cd "${OUT:-out}" && pwd -P) && : >"$out/result.json.tmp" && rm "$out/result.json.tmp"; } 2>/dev/null; then
		die "cannot write to ${OUT:-out}: name another folder with OUT"
	fi
	unpack
	[[ $1 == report ]] || check_host
	case $1 in
	test) tests ;;
	bench) bench 1 ;;
	*) "$1" ;;
	esac
}

main "$@"
