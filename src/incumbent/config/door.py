"""The section ``[door]``: how the quality of what comes in is judged, day by day."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from incumbent.config.sections import Part


class DoorConfig(Part):
    """What counts as late, and how many false findings a month may come of judging each day against its past."""

    enabled: bool = True  # does the loop measure and judge what comes in?
    late_s: Annotated[float, Field(gt=0)] = 3_600.0  # an event that comes in this long after it happened is late
    settle_s: Annotated[float, Field(ge=0)] = 3_600.0  # how long after its end a day is judged
    baseline_days: Annotated[int, Field(ge=7, le=180)] = 42  # past days that a day is compared with
    min_days: Annotated[int, Field(ge=5)] = 7  # past days with a value before anything is judged
    min_weekdays: Annotated[int, Field(ge=4)] = 5  # from so many of the same weekday on their level is compared with
    false_findings_per_month: Annotated[float, Field(gt=0)] = 1.0  # of all checks together
    least_share: Annotated[float, Field(ge=0, lt=1)] = 0.01  # a smaller change of a share is no finding
    least_factor: Annotated[float, Field(ge=0)] = 0.25  # so of volumes and delays, in parts of what is usual
    settle_days: Annotated[int, Field(ge=2)] = 7  # days at a new level that make it the ordinary one
