"""Event ids, request signatures, user buckets and hashes."""

from __future__ import annotations

import hashlib
import hmac
import os
import uuid
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.clock import EPOCH, ManualClock
from incumbent.events.ids import EventIds, Signer, hash_user, id_time, user_bucket

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class TestEventIds:
    def test_rfc_9562_layout(self):
        ids = EventIds(ManualClock(START), random=lambda n: b"\xff" * n)
        value = uuid.UUID(ids.new())
        assert value.version == 7 and value.variant == uuid.RFC_4122
        assert value.int >> 80 == int(START.timestamp() * 1000)
        assert value.int & (2**62 - 1) == 2**62 - 1

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.floats(-5, 5), max_size=60))
    def test_they_rise_whatever_the_clock_does(self, steps):
        clock = ManualClock(START)
        ids = EventIds(clock)
        made = [ids.new()]
        for step in steps:
            clock.advance(step)
            made.append(ids.new())
        assert all(a < b for a, b in pairwise(made))

    def test_a_clock_that_steps_back_keeps_the_last_millisecond(self):
        clock = ManualClock(START)
        ids = EventIds(clock)
        first = ids.new()
        clock.advance(-3600)
        assert id_time(ids.new()) == id_time(first) == START
        clock.advance(3600.001)
        assert id_time(ids.new()) == START + timedelta(milliseconds=1)

    def test_a_full_millisecond_runs_into_the_next(self):
        clock = ManualClock(START)
        ids = EventIds(clock)
        made = [ids.new() for _ in range(10_000)]
        assert len(set(made)) == 10_000 and made == sorted(made)
        assert id_time(made[4095]) == START and id_time(made[4096]) == START + timedelta(milliseconds=1)
        assert id_time(made[-1]) == START + timedelta(milliseconds=2)

    def test_two_sources_in_one_millisecond_differ(self):
        made = {EventIds(ManualClock(START)).new() for _ in range(1000)}
        assert len(made) == 1000

    def test_a_fork_shares_no_random_words(self):
        ids = EventIds(ManualClock(START))
        ids.new()
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, "".join(ids.new()[19:] for _ in range(20)).encode())
            os._exit(0)
        os.waitpid(child, 0)
        theirs = os.read(read, 10_000).decode()
        assert len(theirs) == 20 * 17 and not any(ids.new()[19:] in theirs for _ in range(20))

    @pytest.mark.parametrize("bad", ["", "x", "f32c9b95-b626-4e27-8a0e-0c34e39e3eb1",
                                     "00000000-03e8-7000-8000-00000000000"])
    def test_only_a_uuid7_has_a_time(self, bad):
        with pytest.raises(ValueError):
            id_time(bad)

    def test_the_epoch(self):
        assert id_time(EventIds(ManualClock(EPOCH)).new()) == EPOCH


class TestSigner:
    @settings(deadline=None, max_examples=100)
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.binary(min_size=1, max_size=40))
    def test_what_was_signed_verifies_and_by_no_other_secret(self, text, secret):
        signed = Signer(secret).sign(text)
        assert Signer(secret).verify(signed) == text
        assert Signer(secret + b"x").verify(signed) is None

    @settings(deadline=None, max_examples=100)
    @given(st.data())
    def test_a_changed_character_is_noticed(self, data):
        signed = Signer(b"secret").sign("0190-request-id")
        at = data.draw(st.integers(0, len(signed) - 1))
        other = data.draw(st.characters(exclude_characters=signed[at]))
        assert Signer(b"secret").verify(signed[:at] + other + signed[at + 1:]) is None

    @pytest.mark.parametrize("forged", ["", ".", "a", "a.", "a.é", "\ud800.AAAAAAAAAAAA", ".AAAAAAAAAAAA", "a" * 10**6])
    def test_rubbish_is_none_and_never_an_error(self, forged):
        assert Signer(b"secret").verify(forged) is None

    def test_known_answer(self):
        mac = hashlib.blake2b(b"r1", key=b"secret", digest_size=9).hexdigest()
        assert Signer(b"secret").sign("r1") == "r1." + mac and len(mac) == 18

    def test_kinds_are_worth_nothing_to_one_another(self):
        plain, cursor = Signer(b"secret"), Signer(b"secret").of("cursor")
        mac = hashlib.blake2b(b"r1", key=b"secret", digest_size=9, person=b"cursor").hexdigest()
        assert cursor.sign("r1") == "r1." + mac and plain.of("cursor") is plain.of("cursor")
        assert plain.verify(cursor.sign("r1")) is None and cursor.verify(plain.sign("r1")) is None

    @pytest.mark.parametrize("secret", [b"secret", b"s" * 200])
    def test_a_batch_is_believed_by_its_own_signature(self, secret):
        body, signer = b'{"events": []}', Signer(secret)
        known = hmac.digest(secret, b"incumbent.batch\n" + body, "sha256").hex()
        assert signer.sign_batch(body) == known and signer.believes(body, known.encode())
        another = Signer(b"x").sign_batch(body)
        for other in (b"", known[:-1].encode(), known.encode() + b"0", b"\xff" * 64, another.encode()):
            assert not signer.believes(body, other)
        assert not signer.believes(body + b" ", known.encode())

    def test_a_secret_longer_than_a_key_may_be_is_hashed_and_none_of_it_is_ignored(self):
        assert Signer(b"s" * 65).sign("r1") != Signer(b"s" * 64 + b"t").sign("r1") != Signer(b"s" * 64).sign("r1")


class TestUsers:
    @settings(deadline=None, max_examples=60)
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.integers(1, 256))
    def test_a_bucket_is_in_range_and_nests(self, user, k):
        assert 0 <= user_bucket(user, k) < k
        assert user_bucket(user, 64) % 16 == user_bucket(user, 16) == user_bucket(user)

    def test_buckets_are_even(self):
        counts = [0] * 16
        for i in range(16_000):
            counts[user_bucket(f"user-{i}")] += 1
        assert sum((count - 1000) ** 2 / 1000 for count in counts) < 45  # chi2(15) passes 45 once in 10,000 times

    def test_hashes_need_the_secret(self):
        assert hash_user("u42", b"a") != hash_user("u42", b"b") != hash_user("u43", b"b")
        assert len(hash_user("u42", b"a")) == 32 and "u42" not in hash_user("u42", b"a")
