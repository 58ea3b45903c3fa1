#!/usr/bin/env bash
# Builds images whose digest depends on the commit alone, as OCI layouts with layers in zstd: see usage.
set -euo pipefail

usage() {
	cat <<EOT
usage: docker/release.sh [--commit COMMIT | --working-tree] [--out FOLDER] [--standins] [cpu|cuda]...

Builds both targets, or those named, with buildah, and writes FOLDER/thaw-TARGET (an OCI layout) and FOLDER/digests. The same
commit gives the same digests: every time in the images is the commit's, the program holds no path and no build id, and
nothing is taken from the cache of another build. To publish:

  skopeo copy oci:FOLDER/thaw-cuda docker://REGISTRY/thaw:VERSION-cuda

  --commit COMMIT  what to build, by default HEAD
  --working-tree   the files as they are here, with HEAD's time; for tests
  --out FOLDER     by default dist/images
  --standins       on the stand-ins of docker/engine.sh instead of the images that bases.lock pins; for tests

CA      a bundle of certificates, where a proxy signs TLS anew; by default \$SSL_CERT_FILE
WHEELS  a folder like \$THAW_CACHE/wheels, which is not brought again; a release brings all itself, and checks the hashes
EOT
}

die() {
	printf 'thaw: docker/release.sh: %s\n' "$*" >&2
	exit 1
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cache=${THAW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/thaw}
commit=HEAD
out=$root/dist/images
tree=
standins=
targets=()
while [[ $# -gt 0 ]]; do
	case $1 in
	cpu | cuda) targets+=("$1") ;;
	--commit) commit=${2:?a commit is missing} && shift ;;
	--out) out=${2:?a folder is missing} && shift ;;
	--working-tree) tree=yes ;;
	--standins) standins=yes ;;
	-h | --help) usage && exit 0 ;;
	*) usage >&2 && exit 2 ;;
	esac
	shift
done
[[ ${#targets[@]} -gt 0 ]] || targets=(cpu cuda)
command -v buildah >/dev/null || die "buildah not found: install it (on Debian: apt-get install buildah)"

commit=$(git -C "$root" rev-parse --verify -q "$commit^{commit}") || die "there is no commit $commit here"
time=$(git -C "$root" log -1 --format=%ct "$commit")
mkdir -p "$cache/docker" "$out"
out=$(cd "$out" && pwd -P)
work=$(mktemp -d "$cache/docker/release.XXXXXX")
export TMPDIR=$work # what buildah keeps for the time of a build is large
buildah=(buildah --root "$work/storage" --runroot "$work/run")
clean_up() {
	"${buildah[@]}" rm -a >/dev/null 2>&1 || true
	"${buildah[@]}" rmi -a -f >/dev/null 2>&1 || true
	umount "$work/storage/overlay" 2>/dev/null || true
	rm -rf "$work"
}
trap clean_up EXIT

# What was committed is built, and nothing that lies beside it.
mkdir "$work/context"
if [[ $tree ]]; then
	git -C "$root" ls-files -co --exclude-standard -z |
		tar -C "$root" --ignore-failed-read --null -c -T - 2>/dev/null | tar -C "$work/context" -x
else
	git -C "$root" archive "$commit" | tar -C "$work/context" -x
fi
context=$work/context
[[ -f $context/docker/Dockerfile ]] || die "the commit $commit has no docker/Dockerfile"
if [[ -z $standins ]] && grep -q '  named$' "$context/docker/bases.lock"; then
	printf 'thaw: docker/bases.lock has digests that no registry was asked about: docker/bases.sh asks\n' >&2
fi
printf '{"default": [{"type": "insecureAcceptAnything"}]}\n' >"$work/policy.json" # bases are pinned by digest, not signed

# standin FILE NAME [NAME=VALUE...]: an image of one layer of a stand-in's tar file.
standin() {
	local file=$1 name=$2 container
	shift 2
	[[ -f $file ]] || die "$file is not there: docker/engine.sh start makes it, where no registry is reached"
	container=$("${buildah[@]}" from scratch)
	"${buildah[@]}" add -q "$container" "$file" / >/dev/null
	[[ $# == 0 ]] || "${buildah[@]}" config "${@/#/--env=}" "$container"
	"${buildah[@]}" commit -q --timestamp 0 --rm "$container" "$name" >/dev/null
}

arguments=()
while read -r line; do
	arguments+=(--build-arg "$line")
done < <(REVISION=$commit "$context/docker/versions.sh")
if [[ $standins ]]; then
	base=$(printf '%s\n' "$cache"/docker/standin-debian-*.tar | tail -n 1)
	golang=$(printf '%s\n' "$cache"/docker/standin-golang-*.tar | tail -n 1)
	standin "$base" thaw-standin/base
	standin "$golang" thaw-standin/golang GOPATH=/go \
		PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	arguments+=(--build-arg BASE=localhost/thaw-standin/base --build-arg GOLANG=localhost/thaw-standin/golang --build-arg SNAPSHOT=)
fi
ca=${CA-${SSL_CERT_FILE:-}}
[[ -z $ca ]] || arguments+=(--secret "id=ca,src=$ca")
[[ -z ${WHEELS:-} ]] || arguments+=(--build-context "wheels=$WHEELS")

for target in "${targets[@]}"; do
	# --layers: a layer for each COPY. --no-cache: buildah's cache does not look at what a step mounts.
	"${buildah[@]}" bud --signature-policy "$work/policy.json" --isolation chroot --network host --format oci --layers --no-cache \
		--timestamp "$time" --target "$target" -t "thaw:$target" -f "$context/docker/Dockerfile" "${arguments[@]}" "$context"
	rm -rf "$out/thaw-$target"
	"${buildah[@]}" push --signature-policy "$work/policy.json" --format oci --compression-format zstd --compression-level 9 \
		--digestfile "$work/digest" "thaw:$target" "oci:$out/thaw-$target"
	touch "$out/digests"
	sed -i "/ thaw-$target\$/d" "$out/digests"
	printf '%s  thaw-%s\n' "$(cat "$work/digest")" "$target" | tee -a "$out/digests"
done
