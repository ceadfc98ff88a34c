"""What Prometheus sees of a server: the sum over its workers, in few series."""

from typing import TYPE_CHECKING

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from s3clients import s3_client
from waiting import eventually

if TYPE_CHECKING:
    from conftest import Face, Start

pytestmark = pytest.mark.programs

PUT = {"x-ambry-service-id": "tests", "x-ambry-content-type": "text/plain"}
DATA = b"x" * 1_000_000

Series = dict[tuple[str, ...], float]


def series(face: "Face", name: str, *labels: str) -> Series:
    """Return the values of a name's series by their labels."""
    text = requests.get(f"{face.url}/metrics", timeout=60).text
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples if each.name == name]
    return {tuple(each.labels[label] for label in labels): each.value for each in samples}


def counted(face: "Face") -> Series:
    return series(face, "yarnmill_blobs_requests_total", "method", "route", "status")


def test_every_request_is_counted_over_all_workers(start_face: "Start") -> None:
    with start_face("--workers", "2") as face:
        for number in range(20):
            assert face.call("PUT", f"/named/ml/c/{number}", data=DATA, headers=PUT).status_code == 201
            assert face.call("GET", f"/named/ml/c/{number}").content == DATA
        with s3_client(face) as s3:
            s3.put_object(Bucket="c", Key="k", Body=b"12345")
            assert s3.get_object(Bucket="c", Key="k")["Body"].read() == b"12345"
        assert face.call("GET", "/named/ml/c/none").status_code == 404
        wanted = {
            ("PUT", "put_named", "201"): 20,
            ("GET", "get_named", "200"): 20,
            ("GET", "get_named", "404"): 1,
            ("PUT", "s3.of_key", "200"): 1,
            ("GET", "s3.of_key", "200"): 1,
        }
        # A request is counted when its answer has ended, and that may be after the client has all of it.
        assert eventually(lambda: counted(face).items() >= wanted.items())
        for _ in range(10):  # whichever worker is asked
            assert counted(face).items() >= wanted.items()
        received = series(face, "yarnmill_blobs_received_bytes_total", "route")
        assert (received["put_named",], received["s3.of_key",]) == (20_000_000, 5)
        sent = series(face, "yarnmill_blobs_sent_bytes_total", "route")
        assert (sent["s3.of_key",], sent["get_named",] - 20_000_000 in range(1000)) == (5, True)
        assert series(face, "yarnmill_blobs_request_seconds_count", "method", "route")["GET", "get_named"] == 21


def test_no_client_makes_series(start_face: "Start") -> None:
    with start_face() as face:
        for number in range(30):
            requests.get(f"{face.url}/no/such/address/{number}", timeout=60)
            requests.request(f"BREW-{number}", f"{face.url}/named/ml/c/{number}", timeout=60)
            face.call("GET", f"/named/ml/c{number}/{number}")
        wanted = {("GET", "get_named", "404"): 30, ("GET", "(other)", "404"): 30, ("(other)", "(other)", "405"): 30}
        assert eventually(lambda: counted(face).items() >= wanted.items())
        assert counted(face).keys() - {("GET", "metrics_text", "200")} == wanted.keys()
