"""The prediction log: what the tier was asked and answered, and labels, from the requests to files of Parquet."""
