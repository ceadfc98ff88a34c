"""Search for the penalties of every coordinate: grid, random and Bayesian.

A trial is a fit with other penalties of data that stay where they are. The next penalties to try are a
function of the settings and the trials so far, so a search that was killed goes on where it was.
Nothing here knows how a model is fitted, where trials are kept or who else is told of them.
"""

from photon.tuning.search import Search, SearchSpace, Study, TuningSettings, checked_tuning
from photon.tuning.trials import Judged, Strength, Trial, strengths_of, with_strengths
from photon.tuning.tune import Tuned, tune

__all__ = [
    "Judged",
    "Search",
    "SearchSpace",
    "Strength",
    "Study",
    "Trial",
    "Tuned",
    "TuningSettings",
    "checked_tuning",
    "strengths_of",
    "tune",
    "with_strengths",
]
