#!/bin/sh
# Makes sure that the tests can start a private ProFTPD with TLS.
#
# An installed proftpd is used as it is: its program and modules only, never its
# configuration, accounts or running process. Where there is none, or none with
# mod_tls, Debian's packages are unpacked into a cache folder: their installation
# would start a server, and drive out another FTP server.
set -eu
. "$(dirname "$0")/unpack.sh"

if [ -x /usr/sbin/proftpd ] && [ -e /usr/lib/proftpd/mod_tls.so ]; then
	say "ProFTPD: the installed one (/usr/sbin/proftpd); a running server is not touched"
	exit 0
fi

root=$(cache_dir)/proftpd
if [ ! -s "$root/libraries" ]; then
	need_apt ProFTPD
	know_package proftpd-core
	know_package proftpd-mod-crypto
	# shellcheck disable=SC2046 # package names are words
	unpack "$root" proftpd-core proftpd-mod-crypto \
		$(missing $( (depends proftpd-core && depends proftpd-mod-crypto) | grep '^lib' | sort -u))
fi
version=$(run_unpacked "$root" usr/sbin/proftpd -v 2>&1 | sed -n 's/.*ProFTPD Version \([0-9][^ ]*\).*/\1/p' | head -n 1)
[ -n "$version" ] || die "the ProFTPD unpacked in $root does not run: remove that folder and try again"
say "ProFTPD: $version, unpacked in $root"
