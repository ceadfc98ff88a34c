# After preparation: fails where something was not prepared.
if [ "$JOB_NAME" = worker ] && [ -z "$MODEL_PARAMS" ]; then
    [ -e "$SEEN/loaded-0" ] && [ -e "$SEEN/loaded-1" ] && [ -e "$SEEN/db-is-up" ] || exit 4
fi
echo "$MODEL_PARAMS" > "$SEEN/trained-$TASK_INDEX"
