#!/usr/bin/env bash
# Proves Thaw on the GPU of this machine, without Go, a compiler or a network: the bundle that `make gpu-bundle` makes.
# It finds libtorch here, and writes what it finds out to the folder named by OUT. See usage below.
set -euo pipefail
unset PYTHONSAFEPATH # report.py imports what lies beside it

self=${BASH_SOURCE[0]}
[[ ! -L $self ]] || self=$(readlink -f "$self")
here=$(cd "$(dirname "$self")" && pwd -P)
pinned=2.11.0 # the libtorch that the programs were built with
within=${WITHIN:-525}
device=${DEVICE:-cuda}

usage() {
	cat <<EOT
usage: run.sh doctor|test|bench|peers|demo|report [FOLDER...]|all

  doctor  what Thaw finds here, and whether it works                            doctor.json
  test    the tests of every package that has GPU tests, those first; where some
          fail, those that did not pass once more, each in a process of its own  tests.log
  bench   Thaw's training steps on random samples                               bench.json, bench.log
  peers   PyTorch's, with the same names                                        peers.jsonl
  demo    fine-tunes a 6-layer BERT on movie reviews, on the GPU and the CPU    demo.log
  report  what the above found, as one JSON object and one table                result.json, result.md
  all     all of these within 9 minutes, what there are targets for first: PyTorch between two passes of Thaw, then the
          GPU tests and the demo; then the other cases and tests, as far as time goes

The files of several calls, each in a folder of its own, make one table on any machine: OUT=table run.sh report CALL1 CALL2.
What a later folder has of a test or a demo counts; of a case, one call that measured both sides. It needs python3 and no GPU.

OUT      the folder to write to, by default ./out; what an earlier run left there is overwritten
LIBTORCH a folder with lib/libtorch_cuda.so, or that lib folder; else the torch of PYTHON, python3 or python is taken,
         then what LD_LIBRARY_PATH and ldconfig know
PYTHON   the Python with torch and transformers, for peers
CASES    only the cases of bench and peers that match this regular expression
MODES    with CASES, how PyTorch runs them: eager, eager-unmasked, graph, compile, by default all but compile
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
# A link is not followed: what CUDA's wheels brought lies beside the link.
torch_of() {
	(cd / && timeout 30 "$1" -c '
import importlib.util, os
found = importlib.util.find_spec("torch")
if found and found.origin:
    print(os.path.dirname(os.path.abspath(found.origin)))') 2>/dev/null || true
}

libtorch= # the folder of libtorch_cuda.so
torch=    # the folder above it, where the version stands

find_libtorch() {
	local p dir
	if [[ ${LIBTORCH:-} ]]; then
		for dir in "$LIBTORCH/lib" "$LIBTORCH"; do
			if [[ -e $dir/libtorch_cuda.so ]]; then
				libtorch=$(cd "$dir" && pwd)
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

# wrong_build VERSION
wrong_build() {
	die "libtorch in $libtorch is $1: the bundle needs the build for CUDA 13 (torch $pinned as pip installs it by default, +cu130)"
}

# check_host: what the programs need, each with its one line.
check_host() {
	local glibc version dir
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
	case $version in
	*+cu13*) ;;
	*+cpu) [[ $device == cpu ]] || wrong_build "$version" ;;
	*+cu* | *+rocm* | *+xpu*) wrong_build "$version" ;;
	esac
	path=$libtorch
	for dir in "$(dirname "$torch")"/nvidia/*/lib "$(dirname "$(cd "$torch" && pwd -P)")"/nvidia/*/lib; do # CUDA's libraries, from wheels
		[[ ! -d $dir || :$path: == *:$dir:* ]] || path+=:$dir
	done
	path+=:$work/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
	local code=0
	native 240 "$work/bin/thaw" version >"$work/version" 2>&1 || code=$? # the first time, two gigabytes are read
	[[ $code != 126 ]] || die "programs may not run in $work (is it mounted noexec?): name another folder with TMPDIR"
	[[ $code != 124 && $code != 137 ]] || die "the program did not start within 240 s with the libtorch in $libtorch: is its disk slow?"
	[[ $code == 0 ]] ||
		die "the program does not start with the libtorch in $libtorch: $(sed -n '$s/.*error while loading shared libraries: //; $p' "$work/version"); torch's wheel brings what it needs as packages named nvidia-*, beside it"
}

path= # of libraries, for what Thaw built

# native SECONDS COMMAND...: runs a program of the bundle, for so long at most.
native() {
	local limit=$1
	shift
	python3 "$work/limit.py" "$limit" env LD_LIBRARY_PATH="$path" "$@"
}

# need_device: the doctor's line where no GPU answers. What else the doctor finds does not keep a step from trying.
need_device() {
	[[ $device == cuda ]] || return 0
	[[ ${doctored:-} ]] || doctor || true
}

# ---- time --------------------------------------------------------------------------------------------------

reserve=0 # seconds for the steps that are yet to come, so that one that hangs leaves them some
late=()   # what was not begun, as no time was left
optional= # yes in steps that take what time is left
cut=()    # what of those was not begun or not finished: no failure

left() { echo $((within - reserve - SECONDS)); }

least() { echo $(($1 < $2 ? $1 : $2)); }

# limit SECONDS: that, or what is left of the time for all.
limit() {
	local left
	left=$(least "$(left)" "$1")
	echo $((left < 2 ? 2 : left))
}

# share PART OF LEAST: of the time that is left, but no less than what gives a figure.
share() {
	local seconds=$(($(left) * $1 / $2))
	echo $((seconds < $3 ? $3 : seconds))
}

# enough WHAT PARTS: whether one of so many parts of all time is left for that; where it is not, it says so and notes it.
enough() {
	(($(left) <= within / $2)) || return 0
	printf 'thaw: %s: not begun, no time is left\n' "$1" >&2
	if [[ $optional ]]; then cut+=("$1"); else late+=("$1"); fi
	return 1
}

# was_cut CODE WHAT: whether time ended what may be cut, which it notes.
was_cut() { [[ $optional && $1 =~ ^(124|137)$ ]] && cut+=("$2"); }

# shown FILE COMMAND...: adds what the command says to the file, and shows it when it ended: a pipe would stay open as long as
# something that cannot be killed holds it.
shown() {
	local code=0 before
	before=$(awk 'END { print NR }' "$1")
	"${@:2}" >>"$1" || code=$?
	tail -n "+$((before + 1))" "$1"
	return "$code"
}

# ---- the GPU's clocks --------------------------------------------------------------------------------------

watcher= # the process that writes them down

watch_clocks() {
	local gpu=${CUDA_VISIBLE_DEVICES:-0}
	[[ $device == cuda ]] && command -v nvidia-smi >/dev/null || return 0
	nvidia-smi --id="${gpu%%,*}" --query-gpu=clocks.sm,clocks.mem,power.draw,temperature.gpu --format=csv,noheader,nounits -l 5 \
		>"$work/clocks.csv" 2>/dev/null </dev/null &
	watcher=$!
	disown "$watcher"
}

# stop_clocks does not wait: after a fault of the GPU nvidia-smi may hang where no signal reaches it.
stop_clocks() {
	[[ ! $watcher ]] || kill -KILL "$watcher" 2>/dev/null || true
	watcher=
}

# ---- steps -------------------------------------------------------------------------------------------------

# doctor fails where something does not work, and ends all where there is no device to go on with.
doctor() {
	local code=0 problem none=
	native "$(limit 200)" "$work/bin/thaw" doctor --json >"$out/doctor.json" 2>"$work/doctor.err" || code=$?
	doctored=yes
	if [[ $code == 0 ]]; then
		python3 "$work/report.py" doctor "$out/doctor.json"
		return
	fi
	problem=$(python3 "$work/report.py" problem "$out/doctor.json" "$code" "$work/doctor.err") || none=yes
	if [[ $device == cpu ]]; then
		echo "the doctor: $problem (DEVICE=cpu: going on)"
		return
	fi
	[[ ! $none ]] || die "$problem"
	printf 'thaw: the doctor: %s\n' "$problem" >&2
	return 1
}

# tests KIND LIMIT: the GPU tests of every package, or its others. For those time may not suffice.
tests() {
	local code=0 package
	python3 "$work/tests.py" "$work" "$out/tests.log" "$1" "$(limit "$2")" "$path" || code=$?
	while read -r package && [[ $package ]]; do
		if [[ $1 == gpu ]]; then late+=("tests of $package"); else cut+=("tests of $package"); fi
	done < <(python3 "$work/report.py" open "$out/tests.log" "$1")
	return "$code"
}

test_all() {
	: >"$out/tests.log"
	local failed=0
	tests gpu "${TESTS_WITHIN:-300}" || failed=1
	tests others "${TESTS_WITHIN:-500}" || failed=1
	return "$failed"
}

# The cases with a target, the most telling first; and the others, by family. RE2, which Thaw uses, knows no "not": what
# the targets leave is written out.
target_cases=(bert-base-full-len128-bs16 resnet50-full-bs32 bert-base-full-len128-bs128)
targets='^(bert-base-full-len128-bs(16|128)|resnet50-full-bs32)$'
others_bert='^bert-base-(top4-|head-|full-real)'
others_resnet='^resnet50-(layer4-|head-|full-bs256)'

bench() {
	local failed=0
	: >"$out/bench.log"
	bench_targets 1 || failed=1
	[[ ${CASES:-} ]] || bench_others || failed=1
	return "$failed"
}

# bench_targets PASS: each in a process of its own, as an error of CUDA's leaves nothing working in a process.
bench_targets() {
	local name failed=0
	need_device
	if [[ ${CASES:-} ]]; then
		bench_part "$1" chosen "$CASES" 500 || failed=1
	else
		for name in "${target_cases[@]}"; do
			bench_part "$1" "$name" "^$name\$" 60 || failed=1
		done
	fi
	join_bench
	return "$failed"
}

bench_others() {
	local failed=0 optional=yes
	need_device
	bench_part 1 others-bert "$others_bert" "$(share 3 10 20)" || failed=1
	bench_part 1 others-resnet "$others_resnet" "$(share 3 10 20)" || failed=1
	join_bench
	return "$failed"
}

join_bench() { python3 "$work/report.py" bench "$work/bench" "$out/bench.log" "$out/bench.json"; }

# bench_part PASS NAME CASES LIMIT
bench_part() {
	local code=0
	mkdir -p "$work/bench"
	printf '== pass %s %s\n' "$1" "$2" >>"$out/bench.log"
	if ! enough "bench of $2, pass $1" 50; then
		printf '== not begun\n' >>"$out/bench.log"
		return
	fi
	shown "$out/bench.log" native "$(limit "$4")" "$work/bin/thaw" bench "$3" --device "$device" --seconds 0.4 --rounds 5 \
		--json "$work/bench/$1-$2.json" 2>>"$out/bench.log" || code=$?
	printf '\n== exit %d\n' "$code" >>"$out/bench.log"
	! was_cut "$code" "bench of $2" || return 0
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

peer_python= # the first that has what the peers need

find_peer_python() {
	[[ $peer_python ]] || peer_python=$(python_with_torch) || {
		echo "thaw: no Python here has torch, torchvision and transformers: PyTorch is not measured; name one with PYTHON" >&2
		return 1
	}
}

modes=eager,eager-unmasked,graph # of PyTorch, beside compile

peers() {
	local failed=0
	: >"$out/peers.jsonl"
	peers_targets || failed=1
	if [[ ! ${CASES:-} ]]; then
		[[ $compiled ]] || peers_compile || failed=1
		peers_others || failed=1
		peers_compile_others || failed=1
	fi
	return "$failed"
}

peers_targets() {
	local failed=0
	need_device
	find_peer_python || return 1
	if [[ ${CASES:-} ]]; then
		peers_part chosen "$CASES" "${MODES:-$modes}" 500
		return
	fi
	peers_part targets "$targets" "$modes" 100 || failed=1
	if (($(left) < within / 8)); then
		echo "thaw: PyTorch compiles later: no time is left now"
	else
		peers_compile || failed=1
	fi
	return "$failed"
}

peers_others() {
	local optional=yes
	find_peer_python || return 1
	peers_part others "$others_bert|$others_resnet" "$modes" "$(share 9 10 40)"
}

peers_compile_others() {
	local optional=yes
	[[ $device == cuda ]] || return 0
	find_peer_python || return 1
	peers_part others-compile '^(bert-base-full-len128-bs128|resnet50-full-bs32)$' compile 200
}

compiled= # whether PyTorch compiled the case with a target for that, or failed; not where it was stopped

# peers_compile: in a call of its own, as it takes most of a minute, and a failure there takes nothing else along.
peers_compile() {
	local code=0
	find_peer_python || return 1
	if [[ $device != cpu ]]; then
		peers_part target-compile '^bert-base-full-len128-bs16$' compile 130 || code=$?
	fi
	[[ $code == 124 || $code == 137 ]] || compiled=yes
	return "$code"
}

# peers_part NAME CASES MODES LIMIT
peers_part() {
	local code=0 limit what="$1: $3" parts=50
	[[ ! $optional ]] || parts=18 # importing torch and one case
	[[ $3 != compile ]] || parts=8
	if ! enough "peers, $what" "$parts"; then
		python3 "$work/report.py" process "$what" none /dev/null >>"$out/peers.jsonl"
		return
	fi
	limit=$(limit "$4")
	# Caches of its own: every run compiles, and leaves nothing in the home folder.
	shown "$out/peers.jsonl" python3 "$work/limit.py" "$limit" env -C "$work" TORCHINDUCTOR_CACHE_DIR="$work/inductor" \
		TRITON_CACHE_DIR="$work/triton" HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 "$peer_python" \
		"$work/peers/gpu_steps.py" --cases "$2" --modes "$3" --device "$device" --seconds 0.4 --rounds 5 \
		--deadline "$((limit > 12 ? limit - 8 : limit))" 2>"$work/peers.err" || code=$?
	printf '\n' >>"$out/peers.jsonl" # a process that was stopped may have left half a line
	python3 "$work/report.py" process "$what" "$code" "$work/peers.err" >>"$out/peers.jsonl"
	! was_cut "$code" "peers, $what" || return 0
	[[ $code == 0 ]] || printf 'thaw: gpu_steps.py (%s) ended with exit code %d: %s\n' "$what" "$code" "$(tail -n 1 "$work/peers.err")" >&2
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
	if ! enough "demo on $1" 50; then
		python3 "$work/report.py" demo "$1" none "$work/runs/$1" >>"$out/demo.log"
		return
	fi
	native "$(limit "$2")" "$work/bin/thaw" train "$work/demo/reviews.yaml" device="$1" out="$work/runs/$1" \
		>"$work/demo.out" 2>&1 || code=$?
	tr '\r' '\n' <"$work/demo.out" | tail -n 60 >>"$out/demo.log" # a terminal's progress, if it shows one
	python3 "$work/report.py" demo "$1" "$code" "$work/runs/$1" | tee -a "$out/demo.log"
	rm -rf "$work/runs/$1"
	return "$code"
}

folders=() # of several calls, to report on instead of OUT

report() { python3 "$work/report.py" result "$here/MANIFEST" "$out" "$work/clocks.csv" "${folders[@]}"; }

# step NAME COMMAND...: one step of all; what fails is noted, and the next goes on.
failed=()
step() {
	say "$1"
	"${@:2}" || failed+=("$1")
}

all() {
	local rest missed
	# What an earlier run left must not pass for this one's.
	(cd "$out" && rm -f doctor.json tests.log bench.json bench.log peers.jsonl demo.log result.json result.md &&
		touch tests.log bench.log peers.jsonl)
	watch_clocks
	step doctor doctor
	# Two fifths of the time are for the tests and the demo; after a slow start, half of what is left.
	rest=$(least $(((within - SECONDS) / 2)) $((within * 2 / 5)))
	reserve=$((rest + within * 9 / 50)) # compiling takes 50 s, the second pass 40 s
	step "bench of the targets, pass 1" bench_targets 1
	reserve=$((rest + within * 2 / 25))
	step "peers of the targets" peers_targets
	report >/dev/null || true # from here on there is a table, whatever comes
	reserve=$rest
	step "bench of the targets, pass 2" bench_targets 2
	report >/dev/null || true
	reserve=$((within / 8)) # the demo takes 50 s
	step "GPU tests" tests gpu 150
	reserve=$((within / 100))
	step demo demo
	if [[ ! ${CASES:-} ]]; then
		[[ $compiled ]] || step "peers of the targets, compiled" peers_compile
		reserve=$(least $((reserve + $(left) / 2)) $((within / 9))) # for the other tests
		step "bench of the others" bench_others
		step "peers of the others" peers_others
		reserve=$((within / 100))
	fi
	step "other tests" tests others 200
	[[ ${CASES:-} ]] || step "peers of the others, compiled" peers_compile_others
	step report report
	stop_clocks
	say "done; what was written is in $out"
	missed=$(python3 "$work/report.py" failed "$out")
	[[ ! $missed ]] || failed+=("not reached: $missed")
}

# joined WORDS...: with semicolons.
joined() { printf '%s; ' "$@" | sed 's/; $//'; }

# ---- the start ---------------------------------------------------------------------------------------------

unpack() {
	command -v python3 >/dev/null || die "python3 not found: the bundle needs it"
	work=$(mktemp -d "${TMPDIR:-/tmp}/thaw-gpu.XXXXXX" 2>/dev/null) ||
		die "cannot write to ${TMPDIR:-/tmp}: name another folder with TMPDIR"
	trap 'stop_clocks; rm -rf "$work"' EXIT
	trap 'exit 130' INT TERM HUP
	# Python, as tar and xz need not be there; and what copied the bundle may have lost who may execute.
	local why
	why=$(python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))' \
		"$here/payload.tar.xz" "$work" 2>&1) || die "cannot unpack $here/payload.tar.xz to $work, 90 MB: ${why##*$'\n'}"
	why=$(cd "$work" && sed -n 's|^\([0-9a-f]\{64\}  \)payload/|\1|p' "$here/MANIFEST" | sha256sum --quiet -c - 2>&1) ||
		die "the bundle in $here is damaged: ${why%%$'\n'*}"
	chmod u+x "$work/bin/thaw"
	find "$work/tests" -name tests -type f -exec chmod u+x {} +
}

main() {
	case ${1:-} in
	doctor | test | bench | peers | demo | report | all) ;;
	-h | --help) usage && exit 0 ;;
	*) usage >&2 && exit 2 ;;
	esac
	[[ $# == 1 || $1 == report ]] || { usage >&2 && exit 2; }
	folders=("${@:2}")
	[[ $within =~ ^[0-9]{1,9}$ ]] || die "WITHIN is $within: write a number of seconds"
	[[ $device == cuda || $device == cpu ]] || die "DEVICE is $device: write cuda or cpu"
	if ! { mkdir -p "${OUT:-out}" && out=$(cd "${OUT:-out}" && pwd -P) && : >"$out/result.json.tmp" && rm "$out/result.json.tmp"; } 2>/dev/null; then
		die "cannot write to ${OUT:-out}: name another folder with OUT"
	fi
	unpack
	[[ $1 == report ]] || check_host
	case $1 in
	test) test_all ;;
	*) "$1" ;;
	esac
	[[ ${#cut[@]} == 0 ]] || say "cut or not begun, as time ended: $(joined "${cut[@]}")"
	[[ ${#late[@]} == 0 ]] || failed+=("not begun: $(joined "${late[@]}")")
	[[ ${#failed[@]} == 0 ]] || die "failed: $(joined "${failed[@]}")"
}

main "$@"
