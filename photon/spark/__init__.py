"""GLMix on Spark: the same descent, with data in the executors and only small sums at the driver."""
