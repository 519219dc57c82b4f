#!/bin/sh
# Makes sure that the tests can start a private PostgreSQL.
#
# Installed server programs are used as they are; no existing cluster is touched.
# Where there are none, Debian's package is unpacked into a cache folder: its
# installation would create and start a cluster of its own.
set -eu
. "$(dirname "$0")/unpack.sh"

for postgres in /usr/lib/postgresql/*/bin/postgres "$(command -v postgres || true)"; do
	if [ -n "$postgres" ] && [ -x "$postgres" ]; then
		say "PostgreSQL: the installed one ($postgres); existing clusters are not touched"
		exit 0
	fi
done

root=$(cache_dir)/postgresql
if [ ! -s "$root/libraries" ]; then
	need_apt PostgreSQL
	know_package postgresql
	server=$(depends postgresql | grep '^postgresql-[0-9]' | head -n 1)
	[ -n "$server" ] || die "cannot tell which PostgreSQL server package to use"
	# LLVM only serves the JIT compiler, which the server does without; it is larger than all the rest.
	# shellcheck disable=SC2046 # package names are words
	unpack "$root" "$server" $(missing $(depends "$server" | grep '^lib' | grep -v '^libllvm'))
fi
for postgres in "$root"/usr/lib/postgresql/*/bin/postgres; do
	version=$(run_unpacked "$root" "${postgres#"$root"/}" --version) ||
		die "the PostgreSQL unpacked in $root does not run: remove that folder and try again"
	say "PostgreSQL: $version, unpacked in $root"
done
