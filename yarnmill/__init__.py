"""YarnMill: batch machine learning for people who own a Hadoop cluster.

The kernel that every other package stands on. It does not know Spark, Skein or Flask, outside the
sub-packages that exist for them.
"""

__version__ = "0.1.0"
