#!/bin/sh
# Makes sure that the tests can start a private Sendmail.
#
# Debian's packages are always unpacked into a cache folder, even where Sendmail
# is installed: its installation would take the place of another MTA, and a
# private copy may run without the rights that an installed one has. m4, which
# makes its configuration, is used as it is if there is one.
set -eu
. "$(dirname "$0")/unpack.sh"

# What makes sendmail.cf, and what gives the instance a host name of its own.
command -v unshare >/dev/null 2>&1 || die "unshare is missing: install util-linux"

root=$(cache_dir)/sendmail
program=usr/libexec/sendmail/sendmail
if [ ! -s "$root/libraries" ]; then
	need_apt Sendmail
	know_package sendmail-bin
	m4=$(command -v m4 >/dev/null 2>&1 || echo m4)
	# shellcheck disable=SC2046,SC2086 # package names are words
	unpack "$root" sendmail-bin sendmail-base sendmail-cf \
		$(missing $m4 $(depends sendmail-bin | grep '^lib') $([ -z "$m4" ] || depends m4 | grep '^lib'))
fi
# A program that takes another group ignores LD_LIBRARY_PATH (ld.so(8)), and this
# one is run by root only.
chmod g-s "$root/$program"
# It tells its version in the course of an address test, which reads no configuration;
# and only after a minute where the host's name has no domain, so it is given another.
tell() { run_unpacked "$root" "$program" -C /dev/null -bt -d0.1 </dev/null 2>/dev/null; }
if unshare --uts true 2>/dev/null; then
	tell() {
		libraries=$(sed "s,^,$root/," "$root/libraries" | tr '\n' ':')
		unshare --uts /bin/sh -c 'hostname mx.cloakroom.test; LD_LIBRARY_PATH=$1 exec "$2" -C /dev/null -bt -d0.1' tell \
			"$libraries" "$root/$program" </dev/null 2>/dev/null
	}
fi
version=$(tell | sed -n 's/^Version //p') || true
[ -n "$version" ] || die "the Sendmail unpacked in $root does not run: remove that folder and try again"
say "Sendmail: $version, unpacked in $root"
