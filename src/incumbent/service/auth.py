"""Keys and the secret: who may do what, and what request ids are signed with."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from incumbent.config import Config
from incumbent.errors import AuthError, StoreError

Scope = Literal["serve", "events", "read", "operate", "plan"]
Headers = Iterable[tuple[bytes, bytes]]

#: what a key of each scope opens
OPENS: dict[str, frozenset[str]] = {
    "serve": frozenset({"serve", "plan"}),
    "events": frozenset({"events"}),
    "shop": frozenset({"serve", "events", "plan"}),  # what a client in a shop's own process needs
    "read": frozenset({"read", "plan"}),
    "operate": frozenset({"read", "operate", "plan"}),
}
_HINT = "send the header Authorization: Bearer KEY"


class ForbiddenError(AuthError):
    """The key is known, but is not for this."""

    code, status = "forbidden", 403


class Keys:
    """The API keys of a configuration (SHA-256 in hex -> scope); without any, every door is open.

    A key comes as ``Authorization: Bearer KEY``, as ``X-API-Key: KEY``, or as the password of ``Authorization: Basic``
    (which is how a browser sends it). Keys are compared by their hashes, so that nothing is learnt from timing.

    >>> import hashlib
    >>> keys = Keys({hashlib.sha256(b"k1").hexdigest(): "events"})
    >>> keys.check([(b"x-api-key", b"k1")], "events")
    >>> keys.check([(b"x-api-key", b"k1")], "operate")
    Traceback (most recent call last):
    ...
    incumbent.service.auth.ForbiddenError: the key is not for this. Got 'events'. Expected scope 'operate'.
    """

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._scopes = {digest.lower(): scope for digest, scope in keys.items()}
        self.open = not self._scopes

    def check(self, headers: Headers, scope: Scope) -> None:
        """Pass, or raise `AuthError` (401: no key, or an unknown one) or `ForbiddenError` (403: of another scope)."""
        if self.open:
            return
        key = _key(headers)
        if key is None:
            raise AuthError("no API key", expected=f"a key of scope {scope!r}", hint=_HINT)
        held = self._scopes.get(hashlib.sha256(key).hexdigest())
        if held is None:
            raise AuthError("unknown API key", expected=f"a key of scope {scope!r}", hint=_HINT)
        if scope not in OPENS[held]:
            raise ForbiddenError("the key is not for this", got=held, expected=f"scope {scope!r}")

    def name(self, headers: Headers) -> str:
        """Who is asking, for the audit: the first eight digits of the key's hash, or ``anonymous``."""
        key = _key(headers)
        return "anonymous" if key is None or self.open else "key:" + hashlib.sha256(key).hexdigest()[:8]


def _key(headers: Headers) -> bytes | None:
    for name, value in headers:
        if name == b"x-api-key":
            return value.strip()
        if name == b"authorization":
            kind, _, rest = value.partition(b" ")
            if kind.lower() == b"bearer":
                return rest.strip()
            if kind.lower() == b"basic":
                try:
                    return base64.b64decode(rest, validate=True).partition(b":")[2]
                except binascii.Error:
                    return None
    return None


def signing_secret(config: Config) -> bytes:
    """The secret of this deployment: the variable `service.secret_env`, else ``DIRECTORY/secret``, made when missing.

    The file is created whole, readable by its owner alone. All parts and hosts of one deployment need the same
    secret: request ids signed under another one count as unserved. Raises `StoreError` where it cannot be had.
    """
    value = os.environ.get(config.service.secret_env)
    if value:
        return value.encode()
    path = Path(config.stores.directory) / "secret"
    try:
        if not path.exists():
            _create(path)
        secret = path.read_bytes().strip()
    except OSError as error:
        raise StoreError("the signing secret cannot be read or made", got=str(path),
                         hint=f"{error.strerror}; or set {config.service.secret_env}") from None
    if len(secret) < 16:
        raise StoreError("the signing secret is too short", got=f"{len(secret)} bytes in {path}",
                         expected="at least 16", hint="restore it; a new one turns earlier request ids unserved")
    return secret


def _create(path: Path) -> None:
    """Write the file aside, sync it, and link it into place: of two processes that try, one wins, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(f".{secrets.token_hex(8)}.tmp")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, secrets.token_hex(32).encode() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
