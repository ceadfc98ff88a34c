"""PySpark's daemon with a fit's modules loaded and its loops compiled before it forks workers.

A worker is forked from the daemon, so what the daemon has loaded costs no worker anything: NumPy, pyarrow, numba
and the compiled loops are a second of CPU each time otherwise, several times a core. Spark runs this one where
``spark.python.daemon.module`` names it; it needs ``photon`` on the executors' path when Python starts.
"""

from pyspark import daemon

from photon.spark.worker import keep_what_is_loaded, keep_zip_directories


def load() -> None:
    """Import what the tasks of a fit import, and bring the compiled loops in."""
    import numpy as np  # noqa: PLC0415  # none of this is for who only imports the module

    import photon.spark.accelerator  # noqa: PLC0415
    import photon.spark.arrow_rows  # noqa: PLC0415, F401
    from photon.cell_terms import CellTerms  # noqa: PLC0415
    from photon.entities import group  # noqa: PLC0415
    from photon.loss import LOGISTIC  # noqa: PLC0415
    from photon.objective import COMPILED_ROWS, row_derivatives  # noqa: PLC0415
    from photon.random_effect import solve_entities  # noqa: PLC0415
    from photon.rows import Examples, SparseRows  # noqa: PLC0415

    one = np.ones(1)
    rows, _ = group(np.zeros(1, np.int64), Examples(SparseRows.from_dense(np.ones((1, 1))), one, one, one))
    solve_entities(rows, one, CellTerms.ridge(rows, one), np.zeros(1), LOGISTIC)
    many = np.ones(COMPILED_ROWS)
    block = Examples(SparseRows.from_dense(many[:, None]), many, many, many)
    row_derivatives(block, one, LOGISTIC, hessian=True)


def settle() -> None:
    """Spare the workers what PySpark does around every task: see :mod:`photon.spark.worker`."""
    keep_zip_directories()
    keep_what_is_loaded()


if __name__ == "__main__":
    load()
    settle()
    daemon.manager()  # type: ignore[no-untyped-call]  # PySpark's own
