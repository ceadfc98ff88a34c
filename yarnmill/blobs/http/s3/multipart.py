"""The operations of an upload in parts: begin, put a part, list them, make one blob of them, give up."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec
from flask import Response, request

from yarnmill.blobs import BlobInfo
from yarnmill.blobs.http.bodies import measured
from yarnmill.blobs.http.chunks import joined
from yarnmill.blobs.http.headers import Answer, parse_integer
from yarnmill.blobs.http.s3 import uploads
from yarnmill.blobs.http.s3.calls import Call, live
from yarnmill.blobs.http.s3.checksums import CONTENT_MD5, checksum_headers, compared
from yarnmill.blobs.http.s3.documents import Element, declaration, document, parse_elements
from yarnmill.blobs.http.s3.listing import iso_time, xml_answer
from yarnmill.blobs.http.s3.objects import SERVICE, etag, refuse_if_wanted_absent, said_attributes, taken
from yarnmill.blobs.http.s3.payload import Payload
from yarnmill.blobs.http.s3.refusals import S3Error, error_document, of_s3
from yarnmill.errors import YarnMillError

_ALIVE_S: Final = 5.0
"""How often a client that waits for its blob to be made hears that the server lives: S3's clients wait for a minute."""

_log = logging.getLogger(__name__)


def create_upload(call: Call) -> Response:
    """Begin an upload; nothing is seen of its key until it is complete."""
    call.require("write")
    if live(call.store, call.name) is not None:
        refuse_if_wanted_absent(call)
        raise taken(call)
    upload = uploads.Upload(container=call.container, key=call.key, attributes=said_attributes(call))
    upload_id = uploads.begin(call.store, call.account, upload)
    facts = [("Bucket", call.container), ("Key", call.key), ("UploadId", upload_id)]
    return xml_answer(Element("InitiateMultipartUploadResult", facts))


def put_part(call: Call) -> Response:
    """Store a part."""
    call.require("write")
    number = part_number()
    upload_of(call)
    payload = Payload(call.caller)
    info = uploads.put_part(call.store, call.account, _upload_id(), number, payload.stream())
    return Answer(headers={"ETag": etag(info), **payload.echoes})


def list_parts(call: Call) -> Response:
    """Answer a page of the parts that were put, of each number the last."""
    call.require("write")
    upload_of(call)
    after = parse_integer(request.args, "part-number-marker") or 0
    most = min(parse_integer(request.args, "max-parts", least=1) or 1000, 1000)
    last = {part.number: part.info for part in uploads.parts_of(call.store, call.account, _upload_id())}
    numbers = [number for number in last if number > after]
    shown = numbers[:most]
    facts: list[tuple[str, str] | Element] = [
        ("Bucket", call.container),
        ("Key", call.key),
        ("UploadId", _upload_id()),
        ("PartNumberMarker", str(after)),
        ("MaxParts", str(most)),
        ("IsTruncated", str(len(shown) < len(numbers)).lower()),
    ]
    facts += [("NextPartNumberMarker", str(shown[-1]))] if shown else []
    facts += [Element("Part", _part(number, last[number])) for number in shown]
    return xml_answer(Element("ListPartsResult", facts))


def _part(number: int, info: BlobInfo) -> list[tuple[str, str]]:
    return [
        ("PartNumber", str(number)),
        ("LastModified", iso_time(info.created_at_ms)),
        ("ETag", etag(info)),
        ("Size", str(info.size_bytes)),
    ]


def abort_upload(call: Call) -> Response:
    """Give an upload up, and delete its parts."""
    call.require("write")
    upload_of(call)
    uploads.forget(call.store, call.account, _upload_id())
    return Answer(status=HTTPStatus.NO_CONTENT)


def complete_upload(call: Call) -> Response:
    """Store the blob that is made of the parts that the body names.

    The answer begins at once and ends when the blob is made, for which a client would not wait in silence; so an error
    on the way stands in an answer of status 200, as S3's clients know it.
    """
    call.require("write")
    wanted = _wanted_parts(call)
    making = _Making(call, _upload_id(), checksum_headers({name.lower(): v for name, v in request.headers.items()}))
    if (made := making.found()) is not None:  # the client lost the answer
        return xml_answer(_made(call, made))
    try:
        if live(call.store, call.name) is not None:
            refuse_if_wanted_absent(call)
            raise taken(call)
        upload = upload_of(call)
        blobs = [info.id for info in _chosen(call, wanted)]
    except YarnMillError:
        if (made := making.found()) is None:
            raise
        return xml_answer(_made(call, made))  # by another call, while this one looked
    return Answer(_answered(call, lambda: making.make(upload, blobs), request.path), mimetype="application/xml")


class _Making(NamedTuple):
    """The blob that an upload becomes. Its service names the upload, so that whoever asks again is told of it."""

    call: Call
    upload_id: str
    checksums: Mapping[str, str]

    @property
    def service(self) -> str:
        return f"{SERVICE} {self.upload_id}"

    def found(self) -> BlobInfo | None:
        """Return it if it is made."""
        known = live(self.call.store, self.call.name)
        is_it = known is not None and known.attributes is not None and known.attributes.service == self.service
        return known if is_it else None

    def make(self, upload: uploads.Upload, blobs: Sequence[str]) -> BlobInfo:
        """Make it of the blobs of its parts, and delete these."""
        store = self.call.store
        attributes = msgspec.structs.replace(upload.attributes, service=self.service)
        said = {name: value for name, value in self.checksums.items() if name != CONTENT_MD5}
        try:
            chunks = compared(joined(store, blobs), tuple(said), said)
            made = store.put(measured(chunks, None, None), attributes, name=self.call.name)
        except YarnMillError:  # the name is taken, or parts are gone: perhaps by another call that made it
            if (made_before := self.found()) is None:
                raise
            return made_before
        try:
            uploads.forget(store, self.call.account, self.upload_id)
        except YarnMillError as problem:  # they expire
            _log.warning("%s: its parts are not deleted: %s", self.call.name, problem.what)
        return made


def _upload_id() -> str:
    return request.args["uploadId"]


def part_number() -> int:
    """Return the number of the part that a request is of; S3Error if it names none."""
    number = parse_integer(request.args, "partNumber", least=1, most=uploads.MOST_PARTS)
    if number is None:
        raise S3Error("InvalidArgument", "partNumber: is not there", expected=f"1 to {uploads.MOST_PARTS}")
    return number


def upload_of(call: Call) -> uploads.Upload:
    """Return the upload that a request is of; S3Error if there is none of that id for its key."""
    return uploads.find(call.store, call.account, call.container, call.key, _upload_id())


def _wanted_parts(call: Call) -> list[tuple[int, str]]:
    body = Payload(call.caller, checksums=False).document()
    try:
        elements = parse_elements(body, "CompleteMultipartUpload", "Part")
        wanted = [(int(each["PartNumber"]), each["ETag"].strip('"')) for each in elements]
    except (KeyError, ValueError):
        raise S3Error("MalformedXML", "the body names no parts", expected="a CompleteMultipartUpload") from None
    numbers = [number for number, _ in wanted]
    if not numbers:
        raise S3Error("MalformedXML", "the body names no parts", expected="a CompleteMultipartUpload")
    if numbers != sorted(set(numbers)):
        raise S3Error("InvalidPartOrder", "the parts are not in the order of their numbers", expected="each once")
    return wanted


def _chosen(call: Call, wanted: list[tuple[int, str]]) -> Iterator[BlobInfo]:
    there = {
        (part.number, part.info.sha256): part.info for part in uploads.parts_of(call.store, call.account, _upload_id())
    }
    for number, tag in wanted:
        if (number, tag) not in there:
            raise S3Error("InvalidPart", f"part {number}: not there, or of another ETag", mend="upload it again")
        yield there[number, tag]


def _made(call: Call, info: BlobInfo) -> Element:
    facts = [("Location", f"/s3/{call.name}"), ("Bucket", call.container), ("Key", call.key), ("ETag", etag(info))]
    return Element("CompleteMultipartUploadResult", facts)


def _answered(call: Call, make: Callable[[], BlobInfo], resource: str) -> Iterator[bytes]:
    """Yield an answer with white space in it for as long as its end is not known."""
    yield declaration()
    pool = ThreadPoolExecutor(1, "upload")
    making = pool.submit(make)
    pool.shutdown(wait=False)  # it goes on to its end also if the client goes away
    while not wait([making], _ALIVE_S).done:
        yield b" "
    try:
        yield document(_made(call, making.result()), declared=False)
    except Exception as problem:  # noqa: BLE001  # the answer has begun, so this is the place to tell
        yield error_document(of_s3(problem, resource), resource, declared=False)
