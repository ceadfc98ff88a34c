"""``spark-submit`` as a value: a command line that can be printed, compared and tested, then run."""
