#!/bin/sh
# Makes sure that the tests can start a private Dovecot, an IMAP server.
#
# An installed dovecot is used as it is: its programs and modules only, never its
# configuration, mail or running processes. Where there is none, Debian's
# packages are unpacked into a cache folder: their installation would start a
# server and create accounts.
set -eu
. "$(dirname "$0")/unpack.sh"

if [ -x /usr/sbin/dovecot ] && [ -x /usr/lib/dovecot/imap ]; then
	say "Dovecot: the installed one (/usr/sbin/dovecot); a running server is not touched"
	exit 0
fi

root=$(cache_dir)/dovecot
if [ ! -s "$root/libraries" ]; then
	need_apt Dovecot
	know_package dovecot-core
	know_package dovecot-imapd
	# shellcheck disable=SC2046 # package names are words
	unpack "$root" dovecot-core dovecot-imapd \
		$(missing $( (depends dovecot-core && depends dovecot-imapd) | grep '^lib' | grep -v '^libpam-runtime$' | sort -u))
fi
# Where its modules lie is built into the programs. In this copy they look in a
# folder below the one they run in, by a path that is as long.
built_in=/usr/lib/dovecot/modules here=modules/././././././././
LC_ALL=C grep -rlZ "$built_in" "$root/usr/lib/dovecot" "$root/usr/bin" "$root/usr/sbin" |
	LC_ALL=C xargs -0 -r sed -i "s,$built_in,$here,g"
version=$(run_unpacked "$root" usr/sbin/dovecot --version 2>&1 | sed -n 's/^\([0-9][^ ]*\) .*/\1/p' | head -n 1)
[ -n "$version" ] || die "the Dovecot unpacked in $root does not run: remove that folder and try again"
say "Dovecot: $version, unpacked in $root"
