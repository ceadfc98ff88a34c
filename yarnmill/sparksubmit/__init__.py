"""From a job and its configuration to a Spark application on YARN.

:func:`~yarnmill.sparksubmit.plan.plan` makes the command line as a value, :func:`~yarnmill.sparksubmit.submit.submit`
sends it, and :func:`~yarnmill.sparksubmit.submit.run_job` does both unless the output is up to date already.
"""

from yarnmill.sparksubmit.plan import SparkSubmission, plan, render
from yarnmill.sparksubmit.submit import prepare, run_job, submit

__all__ = ["SparkSubmission", "plan", "prepare", "render", "run_job", "submit"]
