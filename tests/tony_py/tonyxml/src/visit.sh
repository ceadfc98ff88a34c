# A worker that visits the page beside it.
if [ "$JOB_NAME" = evaluator ]; then sleep 0.5; touch "$SEEN/evaluated"; exit; fi
[ ! -v TB_PORT ] || exit 7
touch "$SEEN/$JOB_NAME"
