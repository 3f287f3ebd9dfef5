import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from incumbent.config import Config
from incumbent.errors import StoreError
from incumbent.service.auth import Keys, signing_secret


def config(tmp_path, **service):
    return Config(stores={"directory": str(tmp_path)}, service=service)


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path):
    first = signing_secret(config(tmp_path / "data"))
    assert len(first) == 64 and signing_secret(config(tmp_path / "data")) == first
    assert stat.S_IMODE((tmp_path / "data" / "secret").stat().st_mode) == 0o600
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["secret"]


def test_many_that_make_it_at_once_have_the_same(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: signing_secret(config(tmp_path)), range(32)))) == 1


def test_the_environment_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOP_SECRET", "from the vault")
    assert signing_secret(config(tmp_path, secret_env="SHOP_SECRET")) == b"from the vault"
    assert not (tmp_path / "secret").exists()


@pytest.mark.parametrize("content", [b"", b"short\n"])
def test_a_secret_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(StoreError, match="too short"):
        signing_secret(config(tmp_path))


def test_a_directory_that_is_a_file(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(StoreError, match="cannot be read or made"):
        signing_secret(config(tmp_path / "data"))
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_names_for_the_audit_hold_no_key():
    keys = Keys({"00": "operate"})
    assert keys.name([]) == "anonymous"
    assert keys.name([(b"x-api-key", b"hunter2")]) == "key:f52fbd32"
    assert Keys({}).name([(b"x-api-key", b"hunter2")]) == "anonymous"
