"""Who may do what over S3's REST: signatures in headers and addresses, public containers, what no log has."""

import datetime as dt
import json
import secrets
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from s3clients import config, pair_of, refused, s3_client

from yarnmill.blobs import open_store
from yarnmill.blobs.http.access import Access
from yarnmill.blobs.http.app import create_app
from yarnmill.blobs.http.s3.identity import identified
from yarnmill.blobs.http.s3.refusals import S3Error
from yarnmill.blobs.http.s3.signatures import Claim, canonical_request, request_signature, signing_key
from yarnmill.blobs.http.tokens import Rules, Token, fresh_rules, key_id_of, load_rules, s3_secret
from yarnmill.cli.main import run, yarnmill

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Face, Start

programs = pytest.mark.programs


@pytest.fixture(scope="module", params=["file"])
def face(face: "Face") -> "Face":
    """Return a server on local files: what is judged before the store is asked is the same on each."""
    return face


@pytest.fixture
def s3(face: "Face") -> Iterator[Any]:
    with s3_client(face) as client:
        yield client


@pytest.fixture
def key(s3: Any) -> str:
    """Return a key of the bucket ``c`` that has a blob."""
    name = secrets.token_hex(4)
    s3.put_object(Bucket="c", Key=name, Body=b"0123456789")
    return name


READS = {"get", "head", "list", "buckets", "head bucket"}
WRITES = {"put", "begin", "part", "create bucket"}
DELETES = {"delete", "delete many"}


def answers(client: Any, key: str) -> dict[str, int]:
    """Return the status of each kind of request."""
    said = {"Bucket": "c", "Key": key}
    calls = {
        "get": (client.get_object, said),
        "head": (client.head_object, said),
        "list": (client.list_objects_v2, {"Bucket": "c"}),
        "buckets": (client.list_buckets, {}),
        "head bucket": (client.head_bucket, {"Bucket": "c"}),
        "put": (client.put_object, {**said, "Body": b"0123456789"}),
        "begin": (client.create_multipart_upload, {**said, "Key": secrets.token_hex(4)}),
        "part": (client.upload_part, {**said, "UploadId": "0" * 32, "PartNumber": 1, "Body": b"x"}),
        "create bucket": (client.create_bucket, {"Bucket": "c"}),
        "delete": (client.delete_object, {**said, "Key": "none"}),
        "delete many": (client.delete_objects, {"Bucket": "c", "Delete": {"Objects": [{"Key": "none"}]}}),
    }
    found = {}
    for name, (call, arguments) in calls.items():
        try:
            found[name] = call(**arguments)["ResponseMetadata"]["HTTPStatusCode"]
        except client.exceptions.ClientError as error:
            found[name] = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return found


@programs
def test_a_pair_is_good_for_what_its_token_may_on_its_accounts(face: "Face", key: str) -> None:
    with s3_client(face, token="") as nobody:
        assert set(answers(nobody, key).values()) == {403}
    with s3_client(face, token=face.new_token(accounts=("other",))) as foreign:
        assert set(answers(foreign, key).values()) == {403}
    with s3_client(face, token=face.new_token("read", accounts=("ml", "x"))) as reader:
        found = answers(reader, key)
        assert {name for name in found if found[name] == 200} == READS
        assert {found[name] for name in WRITES | DELETES} == {403}
    with s3_client(face, token=face.new_token("write")) as writer:
        found = answers(writer, key)
        assert {name for name in found if found[name] == 403} == READS | DELETES
    with s3_client(face) as owner:
        found = answers(owner, key)
        assert found == {**dict.fromkeys(READS | WRITES | DELETES, 200), "delete": 204, "part": 404}


def client_of(face: "Face", key_id: str, secret: str, **options: Any) -> Any:
    return boto3.client(
        "s3", endpoint_url=f"{face.url}/s3/ml", region_name="us-east-1", aws_access_key_id=key_id,
        aws_secret_access_key=secret, config=options.get("config", config()),
    )  # fmt: skip


@programs
def test_a_wrong_pair_is_refused(face: "Face", key: str) -> None:
    key_id, secret = pair_of(face, face.token)
    other_id, other_secret = pair_of(face, face.new_token())
    wrong = {
        (key_id, secret[:-1]): "SignatureDoesNotMatch",
        (key_id, other_secret): "SignatureDoesNotMatch",
        (other_id, secret): "SignatureDoesNotMatch",
        (key_id, face.token): "SignatureDoesNotMatch",
        (key_id.lower(), secret): "InvalidAccessKeyId",
        ("X" * 20, secret): "InvalidAccessKeyId",
    }
    for pair, code in wrong.items():
        client = client_of(face, *pair)
        assert refused(client.get_object, Bucket="c", Key=key) == (403, code)
        assert refused(client.put_object, Bucket="c", Key=f"{key}x", Body=b"x") == (403, code)
        client.close()
    assert face.call("GET", f"/named/ml/c/{key}x").status_code == 404


@programs
def test_a_pair_ends_with_its_token_and_with_the_key_of_the_file(face: "Face", key: str) -> None:
    rules = load_rules(face.tokens)
    with s3_client(face, token=face.new_token()) as s3:
        assert s3.get_object(Bucket="c", Key=key)["Body"].read() == b"0123456789"
        face.change_rules(tokens=rules.tokens)
        assert refused(s3.get_object, Bucket="c", Key=key) == (403, "InvalidAccessKeyId")
    with s3_client(face) as s3:
        face.change_rules(signing_key="0" * 64)
        assert refused(s3.get_object, Bucket="c", Key=key) == (403, "SignatureDoesNotMatch")
        face.change_rules(signing_key=rules.signing_key)
        assert s3.get_object(Bucket="c", Key=key)["Body"].read() == b"0123456789"


@programs
def test_a_public_container_is_everybodys_to_read(face: "Face", s3: Any) -> None:
    s3.put_object(Bucket="open", Key="k", Body=b"public")
    with s3_client(face, token="") as nobody:
        assert refused(nobody.get_object, Bucket="open", Key="k") == (403, "AccessDenied")
        face.change_rules(public=("ml/open",))
        assert nobody.get_object(Bucket="open", Key="k")["Body"].read() == b"public"
        assert [each["Key"] for each in nobody.list_objects_v2(Bucket="open")["Contents"]] == ["k"]
        assert requests.get(f"{face.url}/s3/ml/open/k", timeout=60).content == b"public"
        for call, said in (
            (nobody.put_object, {"Key": "x", "Body": b"x"}),
            (nobody.delete_object, {"Key": "k"}),
            (nobody.create_multipart_upload, {"Key": "x"}),
            (nobody.get_object, {"Key": "k", "ResponseContentType": "text/html"}),
        ):
            assert refused(call, Bucket="open", **said)[0] in {400, 403}
        face.change_rules(public=())
        assert refused(nobody.get_object, Bucket="open", Key="k") == (403, "AccessDenied")


@programs
def test_a_presigned_address_is_good_for_one_thing(s3: Any, key: str) -> None:
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "c", "Key": key}, ExpiresIn=60)
    curl = ["curl", "-sS", "--fail", url]
    assert subprocess.run(curl, capture_output=True, check=True).stdout == b"0123456789"
    assert subprocess.run([*curl, "-r", "2-4"], capture_output=True, check=True).stdout == b"234"
    for wrong in (
        url.replace(f"/c/{key}", f"/c/{key}x"),
        url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url + "&response-content-type=text/html",
    ):
        answer = requests.get(wrong, timeout=60)
        assert (answer.status_code, "SignatureDoesNotMatch" in answer.text) == (403, True)
    assert requests.put(url, data=b"x", timeout=60).status_code == 403
    assert requests.delete(url, timeout=60).status_code == 403
    for wrong in (url.replace("X-Amz-Expires=60", "X-Amz-Expires=604801"), url.replace("aws4_request", "aws4")):
        assert requests.get(wrong, timeout=60).status_code == 400
    said = {"Bucket": "c", "Key": key, "ResponseContentType": "text/x-y", "ResponseContentDisposition": "inline"}
    headers = requests.get(s3.generate_presigned_url("get_object", Params=said), timeout=60).headers
    assert (headers["Content-Type"], headers["Content-Disposition"]) == ("text/x-y", "inline")


@programs
@pytest.mark.parametrize(("age_s", "status"), [(30, 200), (61, 403), (-1000, 403)])
def test_a_presigned_address_is_good_for_a_while(face: "Face", key: str, age_s: int, status: int) -> None:
    key_id, secret = pair_of(face, face.token)
    at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age_s)
    claim = Claim(key_id, f"{at:%Y%m%d}", "r", f"{at:%Y%m%dT%H%M%SZ}", ("host",), "", 60)
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{key_id}/{claim.scope}",
        "X-Amz-Date": claim.at,
        "X-Amz-Expires": "60",
        "X-Amz-SignedHeaders": "host",
    }
    path, pairs = f"/s3/ml/c/{key}", [(name.encode(), value.encode()) for name, value in query.items()]
    host = {"host": face.url.removeprefix("http://")}
    canonical = canonical_request("GET", path.encode(), pairs, host, "UNSIGNED-PAYLOAD")
    signature = request_signature(signing_key(secret, claim), claim, canonical)
    answer = requests.get(face.url + path, params={**query, "X-Amz-Signature": signature}, timeout=60)
    assert answer.status_code == status
    assert (age_s == 61) == ("Request has expired" in answer.text)


@programs
def test_a_presigned_put_stores(face: "Face", s3: Any) -> None:
    params = {"Bucket": "c", "Key": secrets.token_hex(4), "ContentType": "text/plain"}
    url = s3.generate_presigned_url("put_object", Params=params, ExpiresIn=60)
    assert requests.put(url, data=b"x", headers={"Content-Type": "text/html"}, timeout=60).status_code == 403
    assert requests.put(url, data=b"by url", headers={"Content-Type": "text/plain"}, timeout=60).status_code == 200
    assert face.call("GET", f"/named/ml/c/{params['Key']}").content == b"by url"


@programs
def test_curl_signs_by_itself(face: "Face", tmp_path: "Path") -> None:
    pair = ":".join(pair_of(face, face.token))
    (tmp_path / "in").write_bytes(b"by curl" * 1000)
    curl = ["curl", "-sS", "--fail", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", pair]
    address = f"{face.url}/s3/ml/c/{secrets.token_hex(4)}"
    unsigned = ["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
    subprocess.run([*curl, *unsigned, "-T", str(tmp_path / "in"), address], check=True)
    got = subprocess.run([*curl, *unsigned, "-r", "0-6", address], capture_output=True, check=True)
    assert got.stdout == b"by curl"


@programs
def test_signature_version_2_is_refused_in_words_that_help(face: "Face", key: str) -> None:
    client = client_of(face, *pair_of(face, face.token), config=Config(s3={"addressing_style": "path"}))
    url = client.generate_presigned_url("get_object", Params={"Bucket": "c", "Key": key})
    client.close()
    answer = requests.get(url, timeout=60)
    assert answer.status_code == 400
    assert "s3v4" in answer.text


@programs
@pytest.mark.parametrize(
    "given",
    [
        "Bearer x",
        "Basic eDp5",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=a/20260101/r/ec2/aws4_request, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=a/20260101/r/s3/aws4_request, SignedHeaders=host",
        "\xff",
    ],
)
def test_what_is_no_signature_is_refused(face: "Face", given: str) -> None:
    answer = face.call("GET", "/s3/ml/c/k", token="", headers={"Authorization": given})
    assert (answer.status_code, "AuthorizationHeaderMalformed" in answer.text) == (400, True)


NOW = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
TOKEN = Token(name="ci", sha256="5e" * 32)


def asked(rules: Rules, now: dt.datetime, **changed: str) -> Any:
    """Return who a request is taken to be from that was signed at noon."""
    app = create_app(open_store("file:///nowhere"), lambda: rules, is_open=False)
    request = AWSRequest(method="GET", url="http://h/s3/ml/c/k", headers={"x-amz-meta-a": "b"})
    auth = S3SigV4Auth(Credentials(key_id_of(TOKEN), s3_secret(rules, TOKEN)), "s3", "us-east-1")
    request.context["timestamp"] = NOW.strftime("%Y%m%dT%H%M%SZ")
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    request.headers["X-Amz-Content-SHA256"] = auth.payload(request)
    request.headers["host"] = "h"
    text = auth.string_to_sign(request, auth.canonical_request(request))
    auth._inject_signature_to_request(request, auth.signature(text, request))  # noqa: SLF001
    headers = {**dict(request.headers), **changed}
    with app.test_request_context("/s3/ml/c/k", base_url="http://h", headers=headers):
        return identified(Access(open_store("file:///nowhere"), lambda: rules, is_open=False), now)


def test_a_signature_is_good_for_a_quarter_of_an_hour() -> None:
    rules = Rules(signing_key=fresh_rules().signing_key, tokens=(TOKEN,))
    for seconds in (0, 899, -899):
        assert asked(rules, NOW + dt.timedelta(seconds=seconds)).token == TOKEN
    for seconds in (901, -901):
        with pytest.raises(S3Error) as error:
            asked(rules, NOW + dt.timedelta(seconds=seconds))
        assert error.value.code == "RequestTimeTooSkewed"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"x-amz-meta-c": "d"}, "AccessDenied"),
        ({"x-amz-meta-a": "c"}, "SignatureDoesNotMatch"),
        ({"X-Amz-Date": "20260130T120000Z"}, "SignatureDoesNotMatch"),
        ({"X-Amz-Date": "noon"}, "AccessDenied"),
        ({"X-Amz-Date": "20260131T120001Z"}, "SignatureDoesNotMatch"),
        ({"Host": "other"}, "SignatureDoesNotMatch"),
        ({"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, "SignatureDoesNotMatch"),
    ],
)
def test_what_was_signed_is_what_is_asked(changed: dict[str, str], code: str) -> None:
    with pytest.raises(S3Error) as error:
        asked(Rules(signing_key=fresh_rules().signing_key, tokens=(TOKEN,)), NOW, **changed)
    assert error.value.code == code


@programs
def test_an_open_server_asks_for_no_signature(start_face: "Start") -> None:
    with start_face(is_open=True) as face:
        for token in (face.token, ""):
            with s3_client(face, token=token) as client:
                client.put_object(Bucket="c", Key=f"k{token}", Body=b"x")
                assert client.get_object(Bucket="c", Key=f"k{token}")["Body"].read() == b"x"
        client = client_of(face, "whoever", "whatever")
        client.delete_object(Bucket="c", Key="k")
        client.close()


@programs
def test_no_secret_is_in_a_log(start_face: "Start") -> None:
    with start_face() as face:
        key_id, secret = pair_of(face, face.token)
        with s3_client(face) as s3:
            s3.put_object(Bucket="c", Key="k", Body=b"x")
            url = s3.generate_presigned_url("get_object", Params={"Bucket": "c", "Key": "k"})
            assert requests.get(url, timeout=60).content == b"x"
            assert requests.get(url + "0", timeout=60).status_code == 403
    log = face.log.read_text()
    assert {json.loads(line)["status"] for line in log.splitlines()} == {200, 403}
    for word in (secret, key_id, url.rpartition("=")[2], face.token):
        assert word not in log


def test_a_pair_is_told_by_a_command(tmp_path: "Path", capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "t.yaml")
    assert run(yarnmill, ["blobs", "token", "new", "--tokens", path, "ci"]) == 0
    capsys.readouterr()
    assert run(yarnmill, ["blobs", "token", "s3", "--tokens", path, "ci"]) == 0
    lines = dict(line.split("=") for line in capsys.readouterr().out.splitlines())
    assert run(yarnmill, ["blobs", "token", "s3", "--tokens", path, "ci", "--output", "json"]) == 0
    pair = json.loads(capsys.readouterr().out)
    assert lines == {"AWS_ACCESS_KEY_ID": pair["access_key_id"], "AWS_SECRET_ACCESS_KEY": pair["secret_access_key"]}
    assert pair["secret_access_key"] not in (tmp_path / "t.yaml").read_text()
    assert run(yarnmill, ["blobs", "token", "s3", "--tokens", path, "nobody"]) == 3
