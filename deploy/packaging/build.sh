#!/bin/sh
# Builds the Debian package: deploy/packaging/build.sh BINARY DIR writes
# DIR/cloakroom_VERSION_ARCH.deb and prints its name. BINARY is a static build of
# cmd/cloakroom for this machine, which also writes its manual and completions.
# VERSION is the release; without it the package is one of this commit, and older
# than every release.
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

install -D -m 755 "$binary" "$root/usr/bin/cloakroom"
install -D -m 644 deploy/systemd/cloakroom.service "$root/usr/lib/systemd/system/cloakroom.service"
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
# The project's own licence, once it has one, takes the place of what says so.
if [ -f LICENSE ]; then cp LICENSE "$doc/copyright"; else cp deploy/packaging/copyright "$doc/copyright"; fi
deploy/packaging/licences.sh "$binary" >"$doc/licences"
gzip -9n "$doc/licences"
cp -r docs "$doc/docs"
for mta in postfix sendmail; do
	[ ! -d "deploy/$mta" ] || cp -r "deploy/$mta" "$doc/examples/$mta"
done
cp deploy/systemd/README.md "$doc/systemd.md"
# What the documents link to as deploy/… is in the examples.
install -d "$share/cloakroom"
for examples in policies grafana prometheus; do
	[ -d "deploy/$examples" ] || continue
	cp -r "deploy/$examples" "$share/cloakroom/$examples"
	ln -s "../../../cloakroom/$examples" "$doc/examples/$examples"
done

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
version=${VERSION:-$(git log -1 --date=format:%Y%m%d%H%M --format=0~git%cd.%h 2>/dev/null || echo 0~dev)}
version=$(printf '%s' "$version" | sed -e 's/^v//' -e 's/-/+/' -e 's/-/./g')
DEB_VERSION=$version DEB_ARCH=$(dpkg --print-architecture) STAGE=$root STAGE_CONFIG=$stage/cloakroom.yaml
export DEB_VERSION DEB_ARCH STAGE STAGE_CONFIG
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

file=$out/cloakroom_${version}_$DEB_ARCH.deb
said=$(GOFLAGS='' go run "$nfpm" package --config deploy/packaging/nfpm.yaml --packager deb --target "$file" 2>&1) || {
	printf 'nfpm: %s\n' "$said" >&2
	exit 1
}
printf '%s\n' "$file"
