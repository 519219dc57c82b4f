#!/bin/sh
# Makes sure that the alert rules can be checked with Prometheus' own promtool.
#
# An installed promtool is used as it is. Where there is none, Debian's package is
# unpacked into a cache folder: its installation would start a server.
set -eu
. "$(dirname "$0")/unpack.sh"

if found=$(command -v promtool); then
	say "promtool: the installed one ($found)"
	exit 0
fi

root=$(cache_dir)/prometheus
if [ ! -x "$root/usr/bin/promtool" ]; then
	need_apt Prometheus
	know_package prometheus
	unpack "$root" prometheus
fi
version=$(run_unpacked "$root" usr/bin/promtool --version 2>&1 | sed -n 's/^promtool, version \([^ ]*\).*/\1/p')
[ -n "$version" ] || die "the promtool unpacked in $root does not run: remove that folder and try again"
say "promtool: $version, unpacked in $root"
