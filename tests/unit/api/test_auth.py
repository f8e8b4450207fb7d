import pytest

from api import auth
from api.auth import CACHE_SECONDS, Caller, CallerCache, hash_key, is_well_formed, key_prefix, new_api_key


def test_a_new_key_is_well_formed_and_a_mistyped_key_is_not() -> None:
    key = new_api_key()
    assert [len(part) for part in key.split("_")] == [3, 8, 43, 6]
    assert is_well_formed(key)
    for place in (4, 20, 57):
        other = "b" if key[place] == "a" else "a"
        assert not is_well_formed(key[:place] + other + key[place + 1 :])
    for wrong in ("", "ulk_", key[:-1], key + "a", key.replace("ulk", "abc"), key.replace("_", "-")):
        assert not is_well_formed(wrong)


def test_keys_do_not_repeat() -> None:
    assert len({new_api_key() for _ in range(100)}) == 100


def test_the_hash_depends_on_key_and_service_key_and_the_prefix_is_short() -> None:
    key, other = new_api_key(), new_api_key()
    hashes = {hash_key(key, b"a" * 32), hash_key(other, b"a" * 32), hash_key(key, b"b" * 32)}
    assert len(hashes) == 3
    assert key_prefix(key) == key[:12]


def test_a_caller_is_cached_for_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(auth.time, "monotonic", lambda: now)
    callers, caller = CallerCache(), Caller("key-1", "org-1", frozenset({"jobs:read"}))
    callers.remember(b"digest", caller)
    assert callers.find(b"digest") is caller
    assert callers.find(b"other") is None
    now += CACHE_SECONDS
    assert callers.find(b"digest") is None


def test_the_caller_cache_has_a_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "CACHED_KEYS", 2)
    callers = CallerCache()
    for name in (b"a", b"b", b"c"):
        callers.remember(name, Caller("key-1", "org-1", frozenset()))
    assert [callers.find(name) is not None for name in (b"a", b"b", b"c")] == [False, True, True]
