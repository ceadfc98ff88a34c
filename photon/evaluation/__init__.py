"""How good scores are: ranking, losses, calibration and lift, over all rows and within groups.

Everything is weighted (a weight counts as that many rows) and exact over ties. Nothing here knows Spark:
partial sums add up wherever the rows live.
"""

from photon.evaluation.calibration import BINS, Bin, LiftRow, lift_table
from photon.evaluation.costs import ScoreKind
from photon.evaluation.evaluation import Evaluation, Figure, Question, evaluate
from photon.evaluation.evaluators import Evaluator, Metric, parse_evaluator, parse_evaluators
from photon.evaluation.groups import GroupMean, GroupTable, group_table
from photon.evaluation.ranking import Scored

__all__ = [
    "BINS",
    "Bin",
    "Evaluation",
    "Evaluator",
    "Figure",
    "GroupMean",
    "GroupTable",
    "LiftRow",
    "Metric",
    "Question",
    "ScoreKind",
    "Scored",
    "evaluate",
    "group_table",
    "lift_table",
    "parse_evaluator",
    "parse_evaluators",
]
