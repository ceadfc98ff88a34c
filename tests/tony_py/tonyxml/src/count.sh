# The preprocessing: it says the tasks' parameters as TonY has programs say them.
[ "$PREPROCESSING_JOB" = true ] && [ "$HOME" = "$PWD" ] || exit 5
echo "counting $SAMPLE"
echo 'INFO Model parameters: --films 9066 --title "A \ B"'
echo "Model parameters: none"
