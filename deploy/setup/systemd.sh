#!/bin/sh
# Makes sure that the tests can look at the service's unit and install the package: systemd's tools, without a running systemd.
#
# Installed ones are used as they are. Where they are missing (containers mostly)
# Debian's package is unpacked into a cache folder; nothing of it is started.
set -eu
. "$(dirname "$0")/unpack.sh"

found=yes
for tool in systemd-analyze systemd-sysusers systemd-tmpfiles; do
	command -v "$tool" >/dev/null 2>&1 || found=
done
if [ -n "$found" ]; then
	say "systemd's tools: the installed ones ($(command -v systemd-analyze)); no service is started"
	exit 0
fi

root=$(cache_dir)/systemd
if [ ! -s "$root/libraries" ]; then
	need_apt "systemd's tools"
	know_package systemd
	# Releases differ in which package has the shared library and systemd-analyze.
	parts=$(depends systemd | grep '^libsystemd-shared' || true)
	# shellcheck disable=SC2046,SC2086 # package names are words
	unpack "$root" systemd $parts $(missing $(depends systemd | grep '^lib') | grep -v '^libsystemd-shared' || true)
	(cd "$root" && find usr/lib -type d -path '*-linux-gnu/systemd') >>"$root/libraries"
fi
version=$(run_unpacked "$root" usr/bin/systemd-analyze --version 2>/dev/null | head -n 1) ||
	die "the systemd-analyze unpacked in $root does not run: remove that folder and try again"
say "systemd's tools: $version, unpacked in $root"
