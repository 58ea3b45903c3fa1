#!/usr/bin/env bash
# Makes dist/gpu: all that a machine with a GPU and PyTorch needs to prove Thaw on it with one command, run.sh all.
# Here neither a GPU nor CUDA's libraries are needed: the set cuda-headers is.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cd "$root"
go=${GO:-go}
out=${1:-dist/gpu}
most=55000000 # bytes: what travels to a borrowed machine is limited to 64 MiB, with the repository's own files

die() {
	printf 'thaw: %s\n' "$*" >&2
	exit 1
}

# The libtorch that the programs are compiled with and the one that run.sh asks for are one.
pinned=$(sed -n 's/^pinned=\([0-9.]*\).*/\1/p' bench/gpu/run.sh)
grep -qE "^\S+ +torch +${pinned//./\\.} " third_party/wheels.lock ||
	die "bench/gpu/run.sh asks for libtorch $pinned, third_party/wheels.lock has another"

third_party/fetch.sh --set cuda-headers --set reviews
examples/reviews/prepare.sh

mkdir -p "$(dirname "$out")"
out=$(cd "$(dirname "$out")" && pwd -P)/$(basename "$out")
work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT
payload=$work/payload
mkdir -p "$payload/bin" "$payload/demo/data" "$payload/peers"
build=(-tags cuda -trimpath -ldflags "-s -w")

"$go" build "${build[@]}" -o "$payload/bin/thaw" ./cmd/thaw

# gpu_tests FOLDER/: the files there whose tests need a GPU: gpu_test.go and those like graph_gpu_test.go.
gpu_tests() {
	git ls-files -co --exclude-standard -- ":(glob)$1gpu_test.go" ":(glob)$1*_gpu_test.go" | LC_ALL=C sort
}

# Every package with such files: its tests, in a folder like the package's own, as some read the sources beside them.
while read -r package; do
	to=$payload/tests/$package
	mkdir -p "$to"
	"$go" test -c "${build[@]}" -o "$to/tests" "./$package"
	cp "$package"/*.go "$to"
	[[ ! -d $package/testdata ]] || cp -r "$package/testdata" "$to"
	names=
	while read -r file; do
		found=$(sed -n 's/^func \(Test[A-Za-z0-9_]*\)(t \*testing\.T).*/\1/p' "$file" | paste -sd'|')
		[[ $found ]] || die "$file has no tests"
		names+=${names:+|}$found
	done < <(gpu_tests "$package/")
	printf '%s\t%s\n' "$package" "$names" >>"$payload/tests.tsv"
done < <(gpu_tests '**/' | xargs -r dirname | LC_ALL=C sort -u)
[[ -s $payload/tests.tsv ]] || die "no package has a gpu_test.go"

# The demo, with its model made smaller; its licences go along.
(cd bench && "$go" run ./gpu/reduce ../examples/reviews/data/model ../examples/reviews/reviews.tsv "$payload/demo/data/model")
cp examples/reviews/reviews.yaml examples/reviews/reviews.tsv "$payload/demo"
cp -rL examples/reviews/data/licenses "$payload/demo/data"

mkdir "$payload/lib"
cp -L third_party/libtorch/lib/libturbojpeg.so.0 "$payload/lib" # what else the programs load by themselves
cp bench/peers/gpu_steps.py "$payload/peers"
cp bench/gpu/{report,table,measured,tests,limit}.py "$payload"
find "$payload" -name '*.py[co]' -delete

tar -C "$payload" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - . |
	python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(sys.stdin.buffer, lzma.open(sys.argv[1], "wb", preset=6), 1 << 20)' "$work/payload.tar.xz"
cp bench/gpu/run.sh "$work"
{
	printf '# commit %s%s\n' "$(git rev-parse HEAD)" "$([[ -z $(git status --porcelain) ]] || echo ' with changes')"
	printf '# made %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
	printf '# go %s\n' "$("$go" env GOVERSION)"
	printf '# libtorch %s\n' "$pinned"
	printf '# thaw %s\n' "$(sed -n 's/^const Version = "\(.*\)"/\1/p' internal/version/version.go)"
	printf '# cxx %s\n' "$(${CXX:-g++} -dumpfullversion)"
	printf '# glibc %s\n' "$(getconf GNU_LIBC_VERSION)"
	(cd "$work" && find run.sh payload.tar.xz payload -type f | LC_ALL=C sort | xargs -d '\n' sha256sum)
} >"$work/MANIFEST"
packages=$(wc -l <"$payload/tests.tsv")
rm -r "$payload"
chmod 755 "$work" "$work/run.sh"

size=$(du -sb "$work" | cut -f1)
((size <= most)) || die "the bundle takes $size bytes, $most are the most: see what of $(sed -n '/payload\//s/.*payload/payload/p' "$work/MANIFEST" | wc -l) files is too large"
rm -rf "$out"
mv -T "$work" "$out"
trap - EXIT
printf 'thaw: %s is ready: %d packages of tests, %.1f MB\n' "$out" "$packages" "$(awk -v b="$size" 'BEGIN { print b / 1e6 }')" >&2
