# Sourced by the set-up scripts: takes Debian packages apart into a cache folder, beside the system.
#
# The packages are only unpacked, never installed: no maintainer script runs, no
# account, service or configuration file appears, and what is installed already
# (another MTA, a database in use) does not notice. For the same reason none of
# this needs root.

# Where unpacked packages live. internal/testserver looks in the same place.
# Root gets a folder that other accounts can read: servers that refuse to run
# as root must reach their programs.
cache_dir() {
	if [ -n "${CLOAKROOM_CACHE:-}" ]; then
		printf '%s\n' "$CLOAKROOM_CACHE"
	elif [ "$(id -u)" = 0 ]; then
		printf '/var/cache/cloakroom-test\n'
	else
		printf '%s\n' "${XDG_CACHE_HOME:-${HOME:?}/.cache}/cloakroom-test"
	fi
}

say() { printf 'set-up: %s\n' "$*"; }

die() {
	printf 'set-up: %s\n' "$*" >&2
	exit 1
}

# need_apt WHAT stops where there is no apt: WHAT has to come from elsewhere.
need_apt() {
	for tool in apt-get apt-cache dpkg-deb dpkg-query; do
		command -v "$tool" >/dev/null 2>&1 ||
			die "$1 is not installed and this is no Debian or Ubuntu ($tool is missing): install $1 with your package manager, then try again"
	done
}

# own_lists makes apt keep package lists below the cache folder. The system's
# own stay as they are, so that an ordinary user can do it too. Lists younger
# than a day are good enough, unless the argument is "now".
own_lists() {
	apt_dir=$(cache_dir)/apt
	mkdir -p "$apt_dir/lists/partial" "$apt_dir/archives/partial"
	cat >"$apt_dir/apt.conf" <<-EOF
		Dir::State::Lists "$apt_dir/lists";
		Dir::Cache "$apt_dir";
	EOF
	APT_CONFIG=$apt_dir/apt.conf
	export APT_CONFIG
	if [ "${1:-}" != now ] && [ -n "$(find "$apt_dir/fetched" -mmin -1440 2>/dev/null)" ]; then
		return
	fi
	say "fetching package lists into $apt_dir"
	apt-get -qq update || die "apt-get update failed: is the package mirror reachable?"
	touch "$apt_dir/fetched"
}

# know_package NAME makes sure that apt has heard of NAME.
know_package() {
	[ -n "$(apt-cache show "$1" 2>/dev/null)" ] && return
	own_lists
	[ -n "$(apt-cache show "$1" 2>/dev/null)" ] || die "the package mirror has no package $1"
}

# depends NAME lists the first alternative of each dependency, one a line.
depends() {
	apt-cache show --no-all-versions "$1" | sed -n 's/^Depends: //p' | tr ',' '\n' |
		sed 's/|.*//; s/([^)]*)//; s/[[:space:]]//g; s/:any$//'
}

# missing NAME... lists those packages, and what they need, that are not
# installed. It only simulates; an upgrade (marked by "[old version]") is not
# one of them.
missing() {
	[ $# -gt 0 ] || return 0
	plan=$(LC_ALL=C apt-get install -s --no-install-recommends "$@" 2>&1) || die "apt cannot resolve $*: $plan"
	printf '%s\n' "$plan" | sed -n 's/^Inst \([^ ]*\) (.*/\1/p'
}

# unpack DIR PACKAGE... downloads and unpacks into DIR, in one step: DIR is
# complete or does not exist. DIR/libraries tells where its shared libraries
# lie, relative to DIR, one folder a line.
unpack() {
	target=$1
	shift
	rm -rf "$target" "$target.new"
	mkdir -p "$target.new/debs" && chmod 755 "$target.new" "$target.new/debs"
	say "downloading $* into $target (nothing is installed)"
	if ! download "$target.new/debs" "$@"; then
		# Old package lists name files that the mirror no longer has.
		own_lists now
		download "$target.new/debs" "$@" || die "cannot download $*"
	fi
	for deb in "$target.new/debs"/*.deb; do
		dpkg-deb -x "$deb" "$target.new"
	done
	rm -rf "$target.new/debs"
	(cd "$target.new" && find . -name '*.so*' ! -type d | sed 's,^\./,,; s,/[^/]*$,,' | sort -u |
		grep -E '^(usr/)?lib/([^/]*-linux-gnu[^/]*|postfix|dovecot)$') >"$target.new/libraries" || true
	mv "$target.new" "$target"
}

# As root, apt fetches as another account where it can and warns where it
# cannot: neither is of interest.
download() {
	(cd "$1" && shift && apt-get -qq -o APT::Sandbox::User=root download "$@" >/dev/null)
}

# run_unpacked DIR PROGRAM ARGUMENT... runs DIR/PROGRAM with the libraries of DIR.
run_unpacked() {
	dir=$1 program=$2
	shift 2
	LD_LIBRARY_PATH=$(sed "s,^,$dir/," "$dir/libraries" | tr '\n' ':') "$dir/$program" "$@"
}
