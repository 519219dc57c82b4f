# Gives a private Sendmail, or one of its commands, a machine of its own to look
# at, as root: a host name with a dot, without which Sendmail waits a minute, a
# name service of files alone, and a system log that is the instance's.
#
# sendmail.sh FOLDER HOSTNAME COMMAND ARGUMENT...
#   FOLDER  has etc/hosts, etc/nsswitch.conf and the socket syslog
set -eu
if [ "${CLOAKROOM_UNSHARED:-}" = "" ]; then
	CLOAKROOM_UNSHARED=yes exec unshare --uts --mount --propagation private /bin/sh -c "$CLOAKROOM_SCRIPT" sendmail.sh "$@"
fi
folder=$1 name=$2
shift 2
unset CLOAKROOM_UNSHARED CLOAKROOM_SCRIPT

hostname "$name"
mount --bind "$folder/etc/hosts" /etc/hosts
mount --bind "$folder/etc/nsswitch.conf" /etc/nsswitch.conf

# /dev/log may not exist, and must not be the system's: a folder of our own stands in for /dev.
mount -t tmpfs -o size=64k,mode=755 tmpfs "$folder/dev"
for device in null zero random urandom; do
	: >"$folder/dev/$device"
	mount --bind "/dev/$device" "$folder/dev/$device"
done
ln -s "$folder/syslog" "$folder/dev/log"
mount --move "$folder/dev" /dev

# Sendmail trusts only what belongs to root.
chown -R 0:0 "$folder/etc" "$folder/queue"
chown 65534:65534 "$folder/clientqueue"
# Its children stay in its process group, and end with it.
exec setsid "$@"
