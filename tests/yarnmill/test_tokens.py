"""Files of tokens: how they are watched, changed and refused, whatever their tokens are good for."""

import logging
import threading
from pathlib import Path

import pytest

from yarnmill.errors import ConfigurationError, ConflictError, NotFoundError
from yarnmill.tokens import (
    TokenEntry,
    TokensFile,
    WatchedTokens,
    add_entry,
    changing_tokens,
    entry_named,
    entry_of,
    load_tokens,
    new_secret,
    now_ms,
    remove_entry,
)


class Entries(TokensFile, frozen=True):
    """A file whose tokens are good for nothing."""

    tokens: tuple[TokenEntry, ...] = ()


def load(path: Path) -> Entries:
    return load_tokens(path, Entries, mend="make one")


def put(path: Path, *names: str) -> None:
    with changing_tokens(path) as replace:
        replace(Entries(tokens=tuple(TokenEntry(name=name, sha256=new_secret()[1]) for name in names)))


def test_a_secret_has_256_bits_and_belongs_to_one_entry() -> None:
    (one, sha256), (other, _) = new_secret(), new_secret()
    assert one != other
    assert len(one) == 43
    entry = TokenEntry(name="a", sha256=sha256)
    assert entry_of([entry], one) == entry
    assert [entry_of([entry], wrong) for wrong in (other, "", sha256, "\ud800")] == [None] * 4
    assert entry_of([TokenEntry(name="a", sha256=sha256, expires_at_ms=now_ms() - 1)], one) is None


def test_names_are_had_once_and_found(tmp_path: Path) -> None:
    entries = [TokenEntry(name="a", sha256="")]
    assert entry_named(entries, "a") == entries[0]
    with pytest.raises(NotFoundError, match="no token 'b'"):
        entry_named(entries, "b")
    path = tmp_path / "t.yaml"
    put(path, "a")
    add_entry(path, TokenEntry(name="b", sha256=""), load, Entries, rm="rm")
    with pytest.raises(ConflictError, match="has a token 'a'"):
        add_entry(path, entries[0], load, Entries, rm="rm")
    for name in ("", " ", "a\nb", "\udcff"):
        with pytest.raises(ConfigurationError, match="cannot name a token"):
            add_entry(path, TokenEntry(name=name, sha256=""), load, Entries, rm="rm")
    assert [one.name for one in load(path).tokens] == ["a", "b"]
    remove_entry(path, "a", load)
    assert [one.name for one in load(path).tokens] == ["b"]


@pytest.mark.parametrize("text", ["secret_of_mine: [", 'tokens: ["secret_of_mine', "a: b: secret_of_mine"])
def test_an_error_does_not_quote_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.yaml"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="not YAML") as refused:
        load(path)
    assert "secret_of_mine" not in str(refused.value)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load(path)


def test_a_watched_file_is_read_when_it_changed_and_kept_when_it_broke(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, reads = tmp_path / "t.yaml", list[Path]()

    def counted(at: Path) -> Entries:
        reads.append(at)
        return load(at)

    watched = WatchedTokens(path, counted, logging.getLogger("tests"))
    with pytest.raises(NotFoundError):
        watched()
    put(path, "a")
    assert [one.name for one in (watched(), watched())[1].tokens] == ["a"]
    assert len(reads) == 2
    put(path, "a", "b")
    assert len(watched().tokens) == 2
    for broken in ("tokens: 7", "tokens: 8"):
        path.write_text(broken)
        assert [len(watched().tokens) for _ in range(3)] == [2] * 3
    assert len(caplog.records) == 2
    put(path)
    assert watched().tokens == ()


def test_a_file_that_is_replaced_under_readers_is_whole_each_time(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    put(path, "a")
    watched, stop, seen = WatchedTokens(path, load, logging.getLogger("tests")), threading.Event(), set[int]()

    def read() -> None:
        while not stop.is_set():
            seen.add(len(watched().tokens))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(50):
        put(path, *("ab"[: 1 + number % 2]))
    stop.set()
    for thread in threads:
        thread.join()
    assert seen <= {1, 2}
