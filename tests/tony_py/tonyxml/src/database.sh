# A service for the others: it never ends by itself.
touch "$SEEN/db-is-up"
while true; do sleep 1; done
