"""HTTP/1.1 and nothing else: who offers another protocol is answered in this one, with the body that he sent.

Java's own client offers HTTP/2 with every request to an http address. RFC 9110, section 7.8: a server may ignore that.
"""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class PlainHttp(HttpToolsProtocol):
    """One connection. The parser takes what follows an offer for the other protocol: it begins anew, with the head as
    it stands without the offer."""

    offered = False  # in the head that was read last

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                if not self.offered:
                    return  # CONNECT, answered as it is: what follows is no HTTP
                data = self._without_offer() + data[offer.args[0]:]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
            except httptools.HttpParserError:
                self.send_400_response("")
                return

    def on_headers_complete(self) -> None:
        self.offered = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if not self.offered:
            self.head_complete()

    def on_message_complete(self) -> None:
        if not self.offered:
            self.message_complete()

    def head_complete(self) -> None:
        """A request begins."""
        super().on_headers_complete()

    def message_complete(self) -> None:
        """A request has come to its end."""
        super().on_message_complete()

    def _without_offer(self) -> bytes:
        head = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        return head + b"".join([b"%s: %s\r\n" % pair for pair in self.headers if pair[0] != b"upgrade"]) + b"\r\n"
