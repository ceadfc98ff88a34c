"""TLS in front of a server, as a proxy has it: S3 clients speak in another form through it."""

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def _certificate(folder: Path) -> Path:
    """Write a key and a certificate for 127.0.0.1 into one file and return it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "front")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "front.pem"
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, *plain)
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _connect(accepted: socket.socket, context: ssl.SSLContext, behind: tuple[str, int]) -> None:
    with (
        accepted,
        suppress(OSError),
        context.wrap_socket(accepted, server_side=True) as client,
        socket.create_connection(behind) as server,
    ):
        back = threading.Thread(target=_copy, args=(server, client))
        back.start()
        _copy(client, server)
        back.join()


def _serve(listener: socket.socket, context: ssl.SSLContext, behind: tuple[str, int]) -> None:
    threads = []
    with suppress(OSError):
        while True:
            accepted, _ = listener.accept()
            threads.append(threading.Thread(target=_connect, args=(accepted, context, behind)))
            threads[-1].start()
    for thread in threads:
        thread.join()


@contextmanager
def tls_front(host: str, port: int, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the URL of a front of a server, and the certificate to trust."""
    path = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        serving = threading.Thread(target=_serve, args=(listener, context, (host, port)))
        serving.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", path
        listener.shutdown(socket.SHUT_RDWR)
        serving.join()
