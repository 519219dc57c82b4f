#!/bin/sh
# Makes sure that the tests can sign mail with DKIM (RFC 6376): dkimpy is not ours, and what it signed must
# verify after mail was restored.
#
# An installed dkimpy is used; where there is none, Debian's packages are unpacked
# into a cache folder. They are Python alone and run with any python3.
set -eu
. "$(dirname "$0")/unpack.sh"

command -v python3 >/dev/null 2>&1 || die "there is no python3: run deploy/setup/python.sh first"
if python3 -c 'import dkim' >/dev/null 2>&1; then
	say "dkimpy: the installed one"
	exit 0
fi

root=$(cache_dir)/dkimpy
modules=$root/usr/lib/python3/dist-packages
if [ ! -d "$modules/dkim" ]; then
	need_apt "dkimpy (python3-dkim)"
	know_package python3-dkim
	unpack "$root" python3-dkim python3-dnspython
fi
PYTHONPATH=$modules python3 -c 'import dkim' ||
	die "the dkimpy unpacked in $root does not run: remove that folder and try again"
say "dkimpy: unpacked in $root"
