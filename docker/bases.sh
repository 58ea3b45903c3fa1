#!/usr/bin/env bash
# Renews the digests of the images that docker/Dockerfile stands on: asks their registry what each name means today, and
# writes bases.lock and the Dockerfile's arguments. bases.sh --check writes nothing and fails where they differ. Needs skopeo,
# or a Docker client with buildx.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
lock=$here/bases.lock
check=
case ${1:-} in
--check) check=yes ;;
'') ;;
*) echo "usage: docker/bases.sh [--check]" >&2 && exit 2 ;;
esac

# digest_of NAME: of the list of platforms where there is one: a digest is that of the very bytes that the registry gives.
digest_of() {
	if command -v skopeo >/dev/null; then
		local manifest
		manifest=$(mktemp)
		skopeo inspect --raw "docker://$1" >"$manifest" || { rm "$manifest" && return 1; }
		printf 'sha256:%s\n' "$(sha256sum <"$manifest" | cut -d' ' -f1)"
		rm "$manifest"
	else
		docker buildx imagetools inspect "$1" --format '{{.Manifest.Digest}}'
	fi
}

work=$(mktemp)
trap 'rm -f "$work"' EXIT
date=$(date -u +%F)
grep '^#' "$lock" >"$work"
stale=
while read -r argument name digest day how; do
	now=$(digest_of "$name") || now=
	[[ $now =~ ^sha256:[0-9a-f]{64}$ ]] || {
		echo "thaw: docker/bases.sh: the registry does not say what $name is; nothing was changed. Look at the network, or name a mirror in docker/bases.lock" >&2
		exit 1
	}
	if [[ $now != "$digest" ]]; then
		echo "thaw: $name is $now; bases.lock has $digest of $day ($how)" >&2
		stale=yes
	fi
	printf '%-10s  %-23s  %s  %s  checked\n' "$argument" "$name" "$now" "$date" >>"$work"
	[[ $check ]] || sed -i "s|^ARG $argument=.*|ARG $argument=$name@$now|" "$here/Dockerfile" "$here/tensorboard/Dockerfile"
done < <(grep -v '^#' "$lock")
if [[ $check ]]; then
	[[ -z $stale ]] || exit 1
else
	cat "$work" >"$lock"
fi
