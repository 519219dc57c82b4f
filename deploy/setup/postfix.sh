#!/bin/sh
# Makes sure that the tests and the demo can start a private Postfix.
#
# An installed Postfix is used as it is: its programs only, never its
# configuration, queue or running processes. Where there is none, Debian's
# package is unpacked into a cache folder; it is not installed, so that another
# MTA on the machine keeps working and no mail service appears.
set -eu
. "$(dirname "$0")/unpack.sh"

for postconf in /usr/sbin/postconf "$(command -v postconf || true)"; do
	if [ -n "$postconf" ] && [ -x "$postconf" ]; then
		say "Postfix: the installed one ($postconf); its own configuration and queue are not touched"
		exit 0
	fi
done

root=$(cache_dir)/postfix
if [ ! -s "$root/libraries" ]; then
	need_apt Postfix
	know_package postfix
	# shellcheck disable=SC2046 # package names are words
	unpack "$root" postfix $(missing $(depends postfix | grep '^lib'))
fi
version=$(run_unpacked "$root" usr/sbin/postconf -dh mail_version 2>/dev/null) ||
	die "the Postfix unpacked in $root does not run: remove that folder and try again"
say "Postfix: $version, unpacked in $root"
