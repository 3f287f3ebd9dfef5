"""GET /docs: the OpenAPI document as one plain page. Nothing is loaded from anywhere, so that it works offline."""

from __future__ import annotations

import json
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid #8886; border-radius: .4rem; }
details { margin: .5rem 0; } summary { cursor: pointer; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .15rem .75rem .15rem 0; vertical-align: top; }
.verb { display: inline-block; min-width: 4.5rem; font-weight: 700; }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def render(document: dict[str, Any]) -> str:
    """The page of an OpenAPI document: every operation with its parameters, body and answers, then every schema."""
    groups: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append(_operation(path, verb, operation))
    parts = [f"<h2>{escape(tag)}</h2>" + "".join(made) for tag, made in groups.items()]
    schemas = "".join(_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items()))
    info = document["info"]
    return (f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<title>{escape(info['title'])} API</title><style>{STYLE}</style>"
            f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info.get('summary', ''))}</p>"
            f"<p>{escape(info.get('description', ''))} For machines: <a href=/openapi.json>/openapi.json</a>.</p>"
            f"{''.join(parts)}<h2>schemas</h2>{schemas}</html>")


def _operation(path: str, verb: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td>{escape(p['in'])}{', required' if p.get('required') else ''}"
        f"</td><td>{escape(str(p.get('description', p.get('schema', {}).get('type', ''))))}</td></tr>"
        for p in operation.get("parameters", ()))
    body = ""
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        body += f"<p>Body <code>{escape(kind)}</code>: {_link(content.get('schema', {}))}</p>"
    answers = "".join(
        f"<tr><td><code>{escape(status)}</code></td><td>{escape(answer.get('description', ''))}</td></tr>"
        for status, answer in sorted(operation.get("responses", {}).items()))
    return (f"<details><summary><span class=verb>{escape(verb.upper())}</span><code>{escape(path)}</code> "
            f"{escape(operation.get('summary', ''))}</summary><p>{escape(operation.get('description', ''))}</p>"
            f"<table>{rows}</table>{body}<table>{answers}</table></details>")


def _link(schema: dict[str, Any]) -> str:
    """A schema by its name, where it has one."""
    reference = schema.get("$ref", "")
    if reference:
        name = escape(reference.rpartition("/")[2])
        return f"<a href='#{name}'>{name}</a>"
    options = [_link(option) for option in schema.get("anyOf", ())]
    if options:
        return " or ".join(options)
    return f"list of {_link(schema['items'])}" if "items" in schema else escape(str(schema.get("type", "any")))


def _schema(name: str, schema: dict[str, Any]) -> str:
    return (f"<details id='{escape(name)}'><summary><code>{escape(name)}</code> {escape(schema.get('description', ''))}"
            f"</summary><pre>{escape(json.dumps(schema, indent=2))}</pre></details>")
