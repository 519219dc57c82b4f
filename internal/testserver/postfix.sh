# Makes the queue of a private Postfix, as root, and becomes its master(8).
#
# postfix.sh FOLDER OWNER GROUP MAILBOX_UID MAILBOX_GID COMMAND ARGUMENT...
#   FOLDER       has etc/main.cf and etc/master.cf
#   OWNER GROUP  the configuration's mail_owner and setgid_group
#   MAILBOX_*    who mail is delivered as
#
# This is the part of "postfix check" that a new folder needs; the whole of it
# takes a second.
set -eu
folder=$1 owner=$2 group=$3 mailbox_uid=$4 mailbox_gid=$5
shift 5

cd "$folder"
mkdir -p queue data mail
chown "$owner" data
chmod 700 data
chown "$mailbox_uid:$mailbox_gid" mail

cd queue
mkdir -m 700 active bounce corrupt defer deferred flush hold incoming private saved trace
chown "$owner" active bounce corrupt defer deferred flush hold incoming private saved trace
mkdir -m 755 pid
mkdir -m 730 maildrop
mkdir -m 710 public
chown "$owner:$group" maildrop public
chmod 730 maildrop
chmod 710 public

exec "$@"
