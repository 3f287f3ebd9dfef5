"""A shop of forty lines: a page that shows recommendations and tells incumbent what its shoppers do.

    incumbent init . && incumbent serve &      # the service, with two example models
    python examples/shop.py                    # then open http://127.0.0.1:8080/?user=ada
"""

import html
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from incumbent.client import Client
from incumbent.errors import IncumbentError

client = Client("http://127.0.0.1:8000")


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        user = asked.get("user", "guest")
        try:
            if url.path == "/buy":
                client.send("purchase", user, asked["item"], request_id=asked["request"], value_minor=999,
                            currency="EUR")
            answer = client.recommend("home", user, k=8, context={"device": "web"})
            body = "".join(self.link(user, item.item_id, answer.request_id) for item in answer.items)
        except IncumbentError as error:
            body = f"<p>No recommendations now: {html.escape(str(error))}</p>"
        page = f"<!doctype html><title>shop</title><h1>For {html.escape(user)}</h1><ul>{body}</ul>".encode()
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(page)

    def link(self, user, item, request):
        query = urlencode({"user": user, "item": item, "request": request})
        return f'<li>{html.escape(item)} <a href="/buy?{html.escape(query)}">buy for 9.99</a></li>'


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 8080), Shop).serve_forever()
