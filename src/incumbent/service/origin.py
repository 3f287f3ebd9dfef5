"""Whose page asks: a browser is refused that another site's page has sent here.

Two ways lead from a foreign page to a service on this machine or network. DNS rebinding: the page's own name comes to
resolve to our address, and the browser takes us for that site; then Host names it. And a plain cross-site request: then
Origin names the page. Without keys the first is closed by the names that the service answers to; the second always.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from incumbent.config import ServiceConfig
from incumbent.errors import IncumbentError
from incumbent.service.auth import ForbiddenError, Headers

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  # methods that change nothing
REMEMBERED = 256  # Host values that were found good
LONGEST = 255 + len(":65535")  # a name of the DNS and a port; what is longer names nothing
TOLD = 200  # characters of a header that an error repeats
_PLACE = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_.\-]+))(?::\d{1,5})?").fullmatch


class Sites:
    """The names that a service answers to.

    Without keys (`open`) a request's Host must be an IP address, localhost or a name below it, `own` or one of
    `trusted`: an address needs no DNS and cannot be rebound. With keys any Host will do, since a foreign page holds no
    key. Where an Origin is sent with what changes something, it must be the host that is asked, or of a `trusted` name.
    Programs send no Origin, and one that sends no Host is no browser: both pass.

    >>> sites = Sites("127.0.0.1", ["shop.example"], open=True)
    >>> sites.allowed([(b"host", b"127.0.0.1:8000")]) is sites.allowed([(b"host", b"shop.example")]) is None
    True
    >>> print(sites.allowed([(b"host", b"evil.example:8000")]))
    the service has another name. Got 'evil.example:8000'. Hint: add it to service.hosts or set service.keys.
    >>> print(sites.allowed([(b"host", b"127.0.0.1:8000"), (b"origin", b"http://evil.example")]))
    the request comes from another site. Got 'http://evil.example'. Expected the Origin '127.0.0.1:8000'.
    """

    def __init__(self, own: str, trusted: Iterable[str], *, open: bool) -> None:
        self._trusted = frozenset(name.lower().rstrip(".") for name in trusted)
        self._names = self._trusted | {"localhost", own.lower().rstrip(".")}
        self._open = open
        self._good: set[bytes] = set()

    def allowed(self, headers: Headers, *, changes: bool = True) -> IncumbentError | None:
        """None, or why a request with these headers is refused; `changes` says whether it can change anything."""
        host = origin = None
        for name, value in headers:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
        return self.judge(host, origin if changes else None)

    def judge(self, host: bytes | None, origin: bytes | None) -> IncumbentError | None:
        """As `allowed`, of headers that are known already: of a usual request one look into a set."""
        if self._open and host is not None and host not in self._good:
            if not self._answers_to(host):
                return ForbiddenError("the service has another name", got=_text(host)[:TOLD],
                                      hint="add it to service.hosts or set service.keys")
            if len(self._good) < REMEMBERED:
                self._good.add(host)
        if origin is None or self._same(host, origin):
            return None
        return ForbiddenError("the request comes from another site", got=_text(origin)[:TOLD],
                              expected=f"the Origin {_text(host or b'of this service')[:TOLD]!r}")

    def _answers_to(self, host: bytes) -> bool:
        name = _name(_text(host))
        return name in self._names or name.endswith(".localhost") or _is_address(name)

    def _same(self, host: bytes | None, origin: bytes) -> bool:
        scheme, slashes, place = _text(origin).lower().partition("://")
        if not slashes or scheme not in ("http", "https"):
            return False  # "null": a page that hides where it is from
        return (host is not None and place == _text(host).lower()) or _name(place) in self._trusted


def sites_of(service: ServiceConfig) -> Sites:
    """The names that a configuration gives."""
    return Sites(service.host, service.hosts, open=not service.keys)


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _name(place: str) -> str:
    """The name in NAME, NAME:PORT or [ADDRESS]:PORT, without a final dot; empty where it is none of them.

    >>> _name("Localhost.:8000"), _name("[::1]:80"), _name("127.0.0.1:80.evil.example")
    ('localhost', '::1', '')
    """
    found = _PLACE(place.lower()) if len(place) <= LONGEST else None
    return (found["address"] or found["name"].rstrip(".")) if found else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
