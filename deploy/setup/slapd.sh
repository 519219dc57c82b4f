#!/bin/sh
# Makes sure that the tests can start a private OpenLDAP server.
#
# An installed slapd is used as it is: its program, modules and schema files
# only, never its configuration, database or running process. Where there is
# none, Debian's package is unpacked into a cache folder: its installation would
# create and start a directory of its own.
set -eu
. "$(dirname "$0")/unpack.sh"

for slapd in /usr/sbin/slapd "$(command -v slapd || true)"; do
	if [ -n "$slapd" ] && [ -x "$slapd" ]; then
		say "OpenLDAP: the installed one ($slapd); existing directories are not touched"
		exit 0
	fi
done

root=$(cache_dir)/slapd
if [ ! -s "$root/libraries" ]; then
	need_apt OpenLDAP
	know_package slapd
	# shellcheck disable=SC2046 # package names are words
	unpack "$root" slapd $(missing $(depends slapd | grep '^lib'))
fi
# slapd tells its version on standard error and ends with status 1.
version=$(run_unpacked "$root" usr/sbin/slapd -VV 2>&1 | sed -n 's/.*slapd \([0-9][0-9.]*\).*/\1/p' | head -n 1)
[ -n "$version" ] || die "the OpenLDAP unpacked in $root does not run: remove that folder and try again"
say "OpenLDAP: $version, unpacked in $root"
