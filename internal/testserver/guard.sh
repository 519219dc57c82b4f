# Runs one server, and ends it when this script's standard input closes: at our
# starter's wish, or because the starter died. Then removes the server's folder.
# Until then each line of the input names a signal for the server (HUP).
#
# guard.sh SIGNAL FOLDER COMMAND ARGUMENT...
#   SIGNAL   what asks the server to stop (TERM, INT)
#   FOLDER   absolute; its last element begins with "cloakroom-"; "" removes nothing
set -u
signal=$1 folder=$2
shift 2

exec 3<&0
"$@" </dev/null 3<&- &
server=$!
# From here on only the pipe decides. Set after the server's start, which would inherit it.
trap '' HUP INT TERM

(
	while read -r wish <&3; do
		kill -s "$wish" "$server"
	done
	kill -s "$signal" "$server"
	patience=100 # tenths of a second
	while [ "$patience" -gt 0 ] && kill -s 0 "$server"; do
		sleep 0.1
		patience=$((patience - 1))
	done
	kill -s KILL "$server"
) 2>/dev/null &
watcher=$!

wait "$server"
status=$?
kill -s KILL "$watcher" 2>/dev/null
echo "guard.sh: the server ended, status $status"

# Members of a process group that the server made for itself may still be on their way out.
kill -s KILL -- "-$server" 2>/dev/null

# The files stay until nobody wants to look at them any more.
while read -r _ <&3; do :; done
case $folder in
/*/cloakroom-*) rm -rf -- "$folder" || { sleep 0.5 && rm -rf -- "$folder"; } ;;
esac
exit "$status"
