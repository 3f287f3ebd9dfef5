"""What an evaluation is written as: text for people, JUnit for a build, one HTML file to send around."""

from __future__ import annotations

import math
import re
from html import escape
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from incumbent.metrics.expectation import say

if TYPE_CHECKING:
    from incumbent.loop.evaluate import Evaluation
    from incumbent.metrics.expectation import Outcome

_WORD = {"passed": "PASSED", "failed": "FAILED", "missing": "NO NUMBER"}
_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; background: #fff }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .45rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
.passed { color: #146c43 } .failed, .missing { color: #a3200d; font-weight: 600 } small { color: #555 } td svg { display: block }
@media (prefers-color-scheme: dark) { body { color: #e8e8e8; background: #171717 } th, td { border-color: #3a3a3a } small { color: #aaa } .passed { color: #6fcf97 } .failed, .missing { color: #ff9480 } }
"""  # noqa: E501


def verdict(done: Evaluation) -> str:
    """The last line."""
    bad = sum(not outcome.ok for outcome in done.outcomes)
    many = f"{len(done.outcomes)} expectation{'' if len(done.outcomes) == 1 else 's'}"
    return f"NOT RELEASED: {bad} of {many} not met" if bad else f"RELEASED: {many} met"


def as_text(done: Evaluation) -> str:
    """Every outcome on a line; of one that is not met also what both models have."""
    lines = [f"{done.gate}: {done.candidate} against {done.champion}, on {done.source}", f"  {_stands_on(done)}"]
    for one in done.outcomes:
        word = _WORD[one.status] + (" (let pass)" if one.ok and one.status == "missing" else "")
        lines.append(f"{word:9} {one.expectation.title}: {one.expectation.bounds}; {one.message}")
        if not one.ok and one.estimate.value is not None:
            lines.append(f"{'':9} champion {say(one.champion)}; candidate {say(one.candidate)}; {one.users} users")
    lines += [f"note: {note}" for note in done.notes]
    return "\n".join([*lines, verdict(done)])


def as_junit(done: Evaluation) -> str:
    """JUnit XML: a test case for each expectation; no number is a failure, or skipped where the gate lets it pass.

    Source: the format as Jenkins, GitLab and pytest write it (testsuites/testsuite/testcase).
    """
    failed = sum(not one.ok for one in done.outcomes)
    skipped = sum(one.ok and one.status == "missing" for one in done.outcomes)
    counts = {"tests": str(len(done.outcomes)), "failures": str(failed), "errors": "0", "skipped": str(skipped)}
    root = ElementTree.Element("testsuites", {"name": "incumbent evaluate", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {
        "name": _xml(done.gate), "timestamp": done.at.isoformat(), **counts})
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (("candidate", done.candidate), ("champion", done.champion), ("data", done.source)):
        ElementTree.SubElement(properties, "property", name=name, value=_xml(value))
    for one in done.outcomes:
        case = ElementTree.SubElement(suite, "testcase", classname=_xml(f"incumbent.{done.gate}"),
                                      name=_xml(f"{one.expectation.title}: {one.expectation.bounds}"), time="0")
        if not one.ok:
            told = ElementTree.SubElement(case, "failure", message=_xml(one.message), type=one.status)
            told.text = _xml(f"champion {say(one.champion)}\ncandidate {say(one.candidate)}\n{one.users} users")
        elif one.status == "missing":
            ElementTree.SubElement(case, "skipped", message=_xml(one.message))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def as_html(done: Evaluation) -> str:
    """One file without scripts or links: the verdict, every outcome with its interval and bounds drawn, the notes."""
    rows = "".join(
        f"<tr><td class={one.status}>{_WORD[one.status]}</td><td>{escape(one.expectation.title)}<br>"
        f"<small>{escape(one.expectation.bounds)}</small></td><td>{_drawn(one)}{escape(one.message)}</td>"
        f"<td>{escape(say(one.champion))}</td><td>{escape(say(one.candidate))}</td><td>{one.users}</td></tr>"
        for one in done.outcomes)
    notes = "".join(f"<li>{escape(note)}</li>" for note in done.notes)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(done.gate)}: {escape(done.candidate)}</title><style>{_STYLE}</style>"
        f"<h1>{escape(verdict(done))}</h1><p>{escape(done.gate)}: <b>{escape(done.candidate)}</b> against "
        f"<b>{escape(done.champion)}</b> on {escape(done.source)}, evaluated {done.at:%Y-%m-%d %H:%M} UTC.<br>"
        f"{escape(_stands_on(done))}</p><table><thead><tr><th>status<th>expectation<th>judged<th>champion<th>candidate"
        f"<th>users</tr></thead><tbody>{rows}</tbody></table>"
        f"<h2>What the numbers stand on</h2><ul>{notes}</ul></html>\n")


def _stands_on(done: Evaluation) -> str:
    counted = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in done.counts.items() if count)
    answers = "; ".join(f"{role} answered " + ", ".join(f"{status} {count:,}" for status, count in found.items())
                        for role, found in done.statuses.items())
    return f"{counted}; {answers}"


def _drawn(one: Outcome) -> str:
    """The interval as a bar, the value as a dot, the bounds as lines, on a scale of their own."""
    e, x = one.estimate, one.expectation
    ends = [end for end in (e.value, e.low, e.high, x.at_least, x.at_most) if end is not None and math.isfinite(end)]
    if e.value is None or max(ends) == min(ends):
        return ""
    low, span = min(ends), max(ends) - min(ends)

    def at(value: float | None, other: float) -> float:
        return other if value is None or not math.isfinite(value) else 8 + 184 * (value - low) / span

    bounds = "".join(f'<line x1="{at(bound, 0):.1f}" x2="{at(bound, 0):.1f}" y1="1" y2="17" stroke="currentColor" '
                     'stroke-dasharray="3 2"/>' for bound in (x.at_least, x.at_most) if bound is not None)
    bar = "" if e.low is None or e.high is None else (
        f'<line x1="{at(e.low, 0):.1f}" x2="{at(e.high, 200):.1f}" y1="9" y2="9" stroke="currentColor" '
        'stroke-width="3"/>')
    return (f'<svg width="200" height="18" role="img" aria-label="{escape(say(e))}">{bounds}{bar}'
            f'<circle cx="{at(e.value, 100):.1f}" cy="9" r="4" fill="currentColor"/></svg>')


def _xml(text: str) -> str:
    return _NO_XML.sub("?", text)
