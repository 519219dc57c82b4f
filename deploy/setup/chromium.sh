#!/bin/sh
# Makes sure that the tests can look at the pages in a real browser.
#
# An installed Chromium (or Chrome) is used as it is, with a profile of its own.
# Where there is none, Debian's package is unpacked into a cache folder with the
# libraries and the font that it needs: some 450 MB.
set -eu
. "$(dirname "$0")/unpack.sh"

# The names that sisa/web/browser_test.go looks for.
for name in chromium chromium-browser google-chrome; do
	if found=$(command -v "$name"); then
		say "Chromium: the installed one ($found)"
		exit 0
	fi
done

root=$(cache_dir)/chromium
if [ ! -s "$root/libraries" ]; then
	need_apt Chromium
	know_package chromium
	# Ubuntu's package of that name only installs a snap.
	[ -n "$(depends chromium | grep '^chromium-common' || true)" ] ||
		die "this system's chromium package has no program that could be unpacked: install Chromium or Google Chrome, so that chromium or google-chrome is on the PATH"
	# shellcheck disable=SC2046 # package names are words
	more=$(missing fontconfig-config fonts-dejavu-core $(depends chromium | grep -e '^lib' -e '^zlib'))
	# What those need beyond libraries is for desktops: sound and settings services, icons.
	more=$(printf '%s\n' "$more" | grep -e '^lib' -e '^zlib' -e '^font' -e '^xkb-data' | grep -v -e '^libpam' -e '^libsystemd-shared' || true)
	# shellcheck disable=SC2086 # package names are words
	unpack "$root" chromium chromium-common $more
	# Folders that libraries are looked for in at their installed place; the first
	# is in every package, so that the list says "complete" where nothing was missing.
	(cd "$root" && find usr/lib -type d \( -name chromium -o -name pulseaudio -o -name nss \)) >>"$root/libraries"
fi
version=$(run_unpacked "$root" usr/lib/chromium/chromium --version 2>/dev/null) ||
	die "the Chromium unpacked in $root does not run: remove that folder and try again, or install Chromium"
say "Chromium: ${version% }, unpacked in $root"
