"""MLflow is told of a run: its configuration at the start, what it uses meanwhile, how it ended.

A process of its own does the talking, because MLflow takes seconds to load and its server may be slow, hang or be
away: none of that reaches the driver. The run's report and history are the truth, and MLflow a view of them.
"""
