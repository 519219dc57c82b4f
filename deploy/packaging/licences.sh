#!/bin/sh
# Writes the licences of everything that is compiled into a program:
# deploy/packaging/licences.sh BINARY. Most of them ask that whoever gets the
# program gets their text too. A module without one is an error.
set -eu
binary=$(realpath "$1")
cd "$(dirname "$0")/../.."

text() { # NAME FOLDER
	found=
	for file in "$2"/LICEN[CS]E* "$2"/COPYING* "$2"/NOTICE* "$2"/PATENTS*; do
		[ -f "$file" ] || continue
		case $file in */LICEN* | */COPYING*) found=yes ;; esac
		printf '%s\n%s: %s\n%s\n\n' "$line" "$1" "$(basename "$file")" "$line"
		cat "$file"
		printf '\n\n'
	done
	[ -n "$found" ] || {
		printf 'licences.sh: %s has no licence in %s\n' "$1" "$2" >&2
		exit 1
	}
}
line=================================================================================

text "Go $(go env GOVERSION)" "$(go env GOROOT)"
go version -m "$binary" | awk '$1 == "dep" { print $2 }' | while read -r module; do
	text "$(go list -m -f '{{.Path}} {{.Version}}' "$module")" "$(go list -m -f '{{.Dir}}' "$module")"
done
