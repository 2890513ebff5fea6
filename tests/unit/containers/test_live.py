"""What has changed among containers, and how it is told."""

import io
import json
from dataclasses import replace

from boxtrace.containers.listing import ContainerRow
from boxtrace.containers.live import Change, Moment, row_changes
from boxtrace.containers.model import Container
from boxtrace.units import Pid
from boxtrace.view.live import change_line, show_changes

WEB = ContainerRow(Container("docker", "a" * 64, "web", "running", image="redis:7", init_pid=Pid(7)), None, 1)
DB = ContainerRow(Container("podman", "b" * 64, "db", "running"), None, 1)
RENAMED = replace(WEB, container=replace(WEB.container, name="shop"))


def test_changes_between_two_looks() -> None:
    before = {(row.container.runtime, row.container.id): row for row in (WEB, DB)}
    assert row_changes(before, [WEB, DB], 1.0) == []
    assert row_changes(before, [replace(WEB, processes=9), DB], 1.0) == []
    assert row_changes(before, [RENAMED], 1.0) == [Change("end", 1.0, DB), Change("update", 1.0, RENAMED)]
    assert row_changes({}, [DB], 1.0) == [Change("start", 1.0, DB)]


def test_lines_for_people_and_for_programs() -> None:
    change = Change("start", 45000.5, WEB)
    assert (
        change_line(change, utc=True) == "12:30:00.500000  start    docker  aaaaaaaaaaaa  web  redis:7  7  -  running"
    )
    text = io.StringIO()
    show_changes([Moment([WEB], [change]), Moment([WEB], [])], text, utc=True, as_json=True)
    (line,) = text.getvalue().splitlines()
    document = json.loads(line)
    assert (document["change"], document["time"], document["name"]) == ("start", 45000500000000, "web")
    assert document["attributes"]["container.image.tags"] == ["7"]
