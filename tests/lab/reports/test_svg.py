"""Pictures for the report: written anew from a list of what they may hold, so that nothing in them can run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hypertail.errors import DataError
from hypertail.lab.reports.drawing import INK, RULE
from hypertail.lab.reports.figures import accuracy_heatmap, to_svg
from hypertail.lab.reports.html import write_report
from hypertail.lab.reports.svg import themed
from hypertail.storage.seal import sealed
from support.sample_runs import sample_run

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
XLINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
RAN = "document.title='RAN'"


def picture(inside: str, attributes: str = "") -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" {XLINK} viewBox="0 0 9 9" {attributes}>{inside}</svg>'


HOSTILE = {
    "quoted bracket": f'<image x="a>" href="x:" onerror="{RAN}"/>',
    "quoted bracket, linked": f'<image x="a>" xlink:href="x:" onerror="{RAN}"/>',
    "script": f"<script>{RAN}</script>",
    "script in capitals": f"<SCRIPT>{RAN}</SCRIPT>",
    "script of a namespace": f'<s:script xmlns:s="http://www.w3.org/2000/svg">{RAN}</s:script>',
    "html of a namespace": f'<h:img xmlns:h="http://www.w3.org/1999/xhtml" src="x:" onerror="{RAN}"/>',
    "html": f'<img src="x:" onerror="{RAN}"/>',
    "handler": f'<g onload="{RAN}"/>',
    "handler of a namespace": f'<g xlink:onload="{RAN}"/>',
    "foreign object": f'<foreignObject><body xmlns="http://www.w3.org/1999/xhtml" onload="{RAN}"/></foreignObject>',
    "animation": f'<a><animate attributeName="href" values="javascript:{RAN}"/><text>x</text></a>',
    "set": '<rect width="9" height="9"><set attributeName="onmouseover" to="alert(1)"/></rect>',
    "link": f'<a xlink:href="javascript:{RAN}"><text>x</text></a>',
    "use of another file": '<use href="https://example.org/x#y"/>',
    "use of data": '<use href="data:image/svg+xml;base64,PHN2Zy8+#x"/>',
    "picture of svg": '<image href="data:image/svg+xml;base64,PHN2Zy8+"/>',
    "picture elsewhere": '<image href="https://example.org/x.png"/>',
    "png with an end": f"<image href='data:image/png;base64,A\" onerror=\"{RAN}'/>",
    "fill elsewhere": '<rect fill="url(https://example.org/#x)"/>',
    "style elsewhere": '<rect style="fill: url(https://example.org/#x)"/>',
    "style with an escape": r'<rect style="fill: \75rl(x)"/>',
    "style with a comment": '<rect style="fill: ur/**/l(x)"/>',
    "style of another kind": '<rect style="background: red"/>',
    "image set": "<rect style=\"fill: image-set('x' 1x)\"/>",
    "cursor": '<rect cursor="url(x),auto"/>',
    "base": '<g xml:base="https://example.org/"/>',
    "title, where HTML begins": f"<title><img src=x onerror={RAN}></img></title>",
    "desc": "<desc>x</desc>",
    "svg in svg": '<svg onload="x"/>',
    "entity": "<text>&unknown;</text>",
    "document type": '<!DOCTYPE x [<!ENTITY a "b">]><text>&a;</text>',
    "not closed": "<g>",
    "deep": "<g>" * 100 + "</g>" * 100,
    "id": f"<path id='x\" onload=\"{RAN}'/>",
    "use of a use": '<g id="a"><path/></g><g id="b"><use href="#a"/></g><use href="#b"/>',
    "use of nothing": '<use href="#gone"/>',
}


@pytest.mark.parametrize("inside", HOSTILE.values(), ids=HOSTILE)
def test_hostile_pictures_are_refused(inside: str) -> None:
    """case 17: whatever is on no list is told, not shown."""
    with pytest.raises(DataError) as error:
        themed(picture(inside), "p", "d")
    assert error.value.problem == "picture for the report"
    assert error.value.required == "an SVG that hypertail drew"


@pytest.mark.parametrize("attributes", [f'onload="{RAN}"', 'style="background: url(x)"', 'class="x"'])
def test_hostile_roots_are_refused(attributes: str) -> None:
    """case 17: the outermost element is no exception."""
    with pytest.raises(DataError):
        themed(picture("", attributes), "p", "d")


def test_entities_are_never_expanded() -> None:
    """case 17: a document type before the picture is not read, so that what it defines is unknown."""
    bomb = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    head = f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY e0 "ha">{bomb}]>'
    with pytest.raises(DataError, match="not well-formed"):
        themed(head + picture("<text>&e11;</text>"), "p", "d")


def test_what_is_dropped_takes_its_content_along() -> None:
    svg = picture(f'<metadata><x onload="{RAN}">y</x></metadata><defs><style>* {{}}</style></defs><!-- z --><?p i?>')
    assert themed(svg, "p", "d") == '<svg viewBox="0 0 9 9" role="img" aria-label="d"></svg>'


def test_a_figure_is_themed() -> None:
    svg = to_svg(accuracy_heatmap(sample_run(n=2)))
    shown = themed(svg, "here", 'what "it" <shows>')
    root = ElementTree.fromstring(shown.replace("xlink:href", "href"))
    assert (root.tag, root.get("role"), root.get("aria-label")) == ("svg", "img", 'what "it" <shows>')
    assert root.get("viewBox")
    assert not {"width", "height", "version"} & set(root.keys())
    assert "currentColor" in shown
    assert INK not in shown
    assert RULE not in shown
    assert "DejaVu" not in shown
    ids = {element.get("id") for element in root.iter()} - {None}
    assert ids
    assert all(str(name).startswith("here-") for name in ids)
    links = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', shown)
    assert links
    assert {one or other for one, other in links} <= ids
    assert not re.search(r'"[^"]*\d\.\d{3}[^"]*"', re.sub(r"data:[^\"]*", "", shown))
    texts = "".join(root.itertext())
    assert texts.strip()
    assert re.sub(r"\s", "", texts) in re.sub(r"\s", "", "".join(ElementTree.fromstring(svg).itertext()))


def test_prefixes_and_texts_are_escaped() -> None:
    """case 17: whatever the caller passes."""
    shown = themed(picture('<path id="a"/><text>&lt;script&gt; &amp; "</text>'), 'x"><b>', "d")
    assert '<path id="x---b--a"/>' in shown
    assert '<text>&lt;script&gt; &amp; "</text>' in shown


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_nothing_of_a_hostile_folder_runs_in_a_browser(tmp_path: Path) -> None:
    """case 17: every text of a page that comes from a folder is a script here; none of them runs."""
    assert BROWSER is not None
    evil = f'"><img src=x onerror="{RAN}"><script>{RAN}</script>'
    table = {"title": evil, "columns": [evil, "paper"], "rows": [[evil, evil]], "notes": [evil]}
    item = {"name": "table1", "title": evil, "sentence": evil, "files": ["a.svg", "b.md"], "notes": {evil: [evil]}}
    content = {"format": "hypertail-targets", "format_version": 1, "targets": [item | {"tables": [table]}]}
    (tmp_path / "targets.json").write_text(json.dumps(content))
    (tmp_path / "a.svg").write_text(picture(f"<text>&lt;/text&gt;&lt;script&gt;{RAN}&lt;/script&gt;</text>"))
    run = sample_run(n=2).write(tmp_path / "runs" / "run.json")
    made = json.loads(run.read_text())
    for key in ("stream", "strategy", "label", "preset", "command", "started"):
        made[key] = evil
    made |= {"config": {evil: evil}, "versions": {evil: evil}, "hardware": {evil: evil}}
    made["tasks"][0] |= {"name": evil, "classes": [evil]}
    run.write_text(json.dumps(sealed(made)))
    from hypertail.lab.records.runfile import find_runs

    page = write_report(find_runs([tmp_path]), tmp_path / "report.html", folders=[tmp_path])
    result = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
            *("--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'user'}"),
            *("--virtual-time-budget=2000", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "<title>RAN" not in result.stdout
    assert "<title>Partial hypernetworks" in result.stdout
    assert "<script" not in result.stdout
    assert "<img" not in result.stdout
