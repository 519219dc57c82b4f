# Runs an OpenSSH server in the foreground, under guard.sh. Its sessions leave
# the server's process group, and a halted one would outlive everybody: when told
# to end, this script ends them first.
#
# openssh.sh DISK SIZE UID GID COMMAND ARGUMENT...
#   DISK   a folder to mount a file system of SIZE bytes on, as root, seen by the
#          server alone and gone with it; "" for none
#   UID    the account to run COMMAND as, with the group GID; "" for the caller's
set -u
disk=$1 size=$2 uid=$3 gid=$4
shift 4

if [ -n "$disk" ] && [ "${CLOAKROOM_UNSHARED:-}" = "" ]; then
	CLOAKROOM_UNSHARED=yes exec unshare --mount --propagation private /bin/sh -c "$CLOAKROOM_SCRIPT" openssh.sh "$disk" "$size" "$uid" "$gid" "$@"
fi
if [ -n "$disk" ]; then
	mount -t tmpfs -o "size=$size,mode=755,uid=$uid,gid=$gid" tmpfs "$disk" || exit 1
fi
if [ -n "$uid" ]; then
	set -- setpriv --reuid "$uid" --regid "$gid" --clear-groups -- "$@"
fi

"$@" &
server=$!

# descendants PID lists the processes below PID.
descendants() {
	for child in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
		echo "$child"
		descendants "$child"
	done
}

finish() {
	trap '' TERM
	for session in $(descendants "$server"); do
		kill -s KILL "$session" 2>/dev/null
	done
	kill -s CONT "$server" 2>/dev/null
	kill -s TERM "$server" 2>/dev/null
}
trap finish TERM

# A trapped signal ends the first wait early.
wait "$server"
wait "$server"
