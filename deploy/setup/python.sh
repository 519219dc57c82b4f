#!/bin/sh
# Makes sure that the tests can run Python: its email package reads our output as a second opinion.
#
# An installed Python is used; where there is none, Debian's package is unpacked
# into a cache folder.
set -eu
. "$(dirname "$0")/unpack.sh"

if python3 -c 'import email.policy' >/dev/null 2>&1; then
	say "Python: the installed one ($(command -v python3))"
	exit 0
fi

root=$(cache_dir)/python
if [ ! -s "$root/libraries" ]; then
	need_apt "Python 3"
	know_package python3
	# shellcheck disable=SC2046 # package names are words
	unpack "$root" $(missing python3)
fi
version=$(run_unpacked "$root" usr/bin/python3 -c 'import email.policy, platform; print(platform.python_version())') ||
	die "the Python unpacked in $root does not run: remove that folder and try again"
say "Python: $version, unpacked in $root"
