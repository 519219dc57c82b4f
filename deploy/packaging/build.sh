#!/bin/sh
# Builds the Debian package: deploy/packaging/build.sh BINARY DIR writes
# DIR/cloakroom_VERSION_ARCH.deb and prints its name. BINARY is a static build of
# cmd/cloakroom for this machine, which also writes its manual and completions.
# VERSION is the release; without it the package is older than every release.
set -eu
binary=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "$0")/../.."

# A module of its own, as it would bring a hundred others into ours.
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
umask 022
root=$stage/root
share=$root/usr/share

# keep MODE FILE... FOLDER copies files.
keep() {
	mode=$1
	shift
	install -D -m "$mode" -t "$@"
}

keep 755 "$root/usr/bin" "$binary"
mv "$root/usr/bin/$(basename "$binary")" "$root/usr/bin/cloakroom.new"
mv "$root/usr/bin/cloakroom.new" "$root/usr/bin/cloakroom"
keep 644 "$root/usr/lib/systemd/system" deploy/systemd/cloakroom.service
install -D -m 644 deploy/systemd/sysusers.conf "$root/usr/lib/sysusers.d/cloakroom.conf"
install -D -m 644 deploy/systemd/tmpfiles.conf "$root/usr/lib/tmpfiles.d/cloakroom.conf"

"$binary" docs man "$share/man"
find "$share/man" -type f -exec gzip -9n {} +
install -d "$share/bash-completion/completions" "$share/zsh/vendor-completions" "$share/fish/vendor_completions.d"
"$binary" completion bash >"$share/bash-completion/completions/cloakroom"
"$binary" completion zsh >"$share/zsh/vendor-completions/_cloakroom"
"$binary" completion fish >"$share/fish/vendor_completions.d/cloakroom.fish"

doc=$share/doc/cloakroom
install -d "$doc/examples"
cp README.md "$doc/"
cp -r docs "$doc/docs"
cp -r deploy/postfix "$doc/examples/postfix"
# What the documents link to as deploy/… is in the examples.
install -d "$share/cloakroom"
cp -r deploy/policies "$share/cloakroom/policies"
ln -s ../../../cloakroom/policies "$doc/examples/policies"
if [ -d deploy/dashboards ]; then cp -r deploy/dashboards "$share/cloakroom/dashboards"; fi

# The example with all keys; but it observes, and the host's name is the machine's own.
"$binary" config example | sed \
	-e 's/^#mode: enforce$/mode: observe/' \
	-e 's/^hostname: /#&/' \
	-e '1s/Fill in hostname, domains/Fill in domains/' >"$stage/cloakroom.yaml"
grep -q '^mode: observe$' "$stage/cloakroom.yaml" || {
	echo "build.sh: the example configuration has no line \"#mode: enforce\" any more" >&2
	exit 1
}
chmod -R u=rwX,go=rX "$root"
chmod 755 "$root/usr/bin/cloakroom"

# v1.2.3-4-gabc becomes 1.2.3+4.gabc: newer than 1.2.3, older than 1.2.4.
version=$(printf '%s' "${VERSION:-0~dev}" | sed -e 's/^v//' -e 's/-/+/' -e 's/-/./g')
DEB_VERSION=$version DEB_ARCH=$(dpkg --print-architecture) STAGE=$root STAGE_CONFIG=$stage/cloakroom.yaml
export DEB_VERSION DEB_ARCH STAGE STAGE_CONFIG
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

file=$out/cloakroom_${version}_$DEB_ARCH.deb
GOFLAGS= go run "$nfpm" package --config deploy/packaging/nfpm.yaml --packager deb --target "$file" >/dev/null
printf '%s\n' "$file"
