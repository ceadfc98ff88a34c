# Stands before training: what it leaves, the workers find.
while [ ! -e "$SEEN/db-is-up" ]; do sleep 0.1; done
[ ! -e "$SEEN/trained-0" ] || exit 3
sleep 0.3
touch "$SEEN/loaded-$TASK_INDEX"
