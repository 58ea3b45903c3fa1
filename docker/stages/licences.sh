#!/usr/bin/env bash
# Gathers the licences of Thaw, Go and the Go modules: licences.sh FOLDER. It runs in the stage modules, in the module's folder.
set -euo pipefail

to=$1
mkdir -p "$to/thaw" "$to/go" "$to/ca-certificates"
cp LICENSE "$to/thaw"
cp "$(go env GOROOT)/LICENSE" "$to/go"
cp /usr/share/doc/ca-certificates/copyright "$to/ca-certificates"
go mod download -json | awk -F '"' '$2 == "Path" { path = $4 } $2 == "Dir" { print path "\t" $4 }' |
	while IFS=$'\t' read -r path folder; do
		mapfile -t files < <(find "$folder" -maxdepth 1 -type f -regextype posix-extended \
			-iregex '.*/((un)?licen[cs]e|copying|notice|patents)[^/]*')
		[[ ${#files[@]} -gt 0 ]] || {
			printf 'thaw: docker build: %s has no licence file: look at %s\n' "$path" "$folder" >&2
			exit 1
		}
		name=go-${path//\//_}
		mkdir -p "$to/$name"
		cp "${files[@]}" "$to/$name"
	done
chmod -R u=rwX,go=rX "$to"
