#!/bin/sh
# Makes sure that the tests and the demo can start a private OpenSSH server, and
# have its client sftp.
#
# An installed sshd is used as it is: its program only, never its configuration,
# host keys or running process. Where there is none, Debian's package is unpacked
# into a cache folder: its installation would open a door to this machine.
set -eu
. "$(dirname "$0")/unpack.sh"

if ! command -v sftp >/dev/null 2>&1; then
	client=$(cache_dir)/openssh-client
	if [ ! -s "$client/libraries" ]; then
		need_apt "the OpenSSH client"
		know_package openssh-client
		# shellcheck disable=SC2046 # package names are words
		unpack "$client" openssh-client $(missing $(depends openssh-client | grep '^lib'))
	fi
	say "sftp: unpacked in $client"
fi

for sshd in /usr/sbin/sshd "$(command -v sshd || true)"; do
	if [ -n "$sshd" ] && [ -x "$sshd" ]; then
		say "OpenSSH: the installed one ($sshd); its configuration and keys are not touched"
		exit 0
	fi
done

root=$(cache_dir)/openssh
if [ ! -s "$root/libraries" ]; then
	need_apt "the OpenSSH server"
	know_package openssh-server
	# shellcheck disable=SC2046 # package names are words
	unpack "$root" openssh-server openssh-sftp-server $(missing $(depends openssh-server | grep '^lib'))
fi
# sshd tells its version on standard error, with the usage, and fails.
version=$(run_unpacked "$root" usr/sbin/sshd -V 2>&1 | sed -n 's/.*\(OpenSSH_[^ ,]*\).*/\1/p' | head -n 1)
[ -n "$version" ] || die "the sshd unpacked in $root does not run: remove that folder and try again"
say "OpenSSH: $version, unpacked in $root"
