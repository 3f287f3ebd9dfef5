"""The section ``[text]``: how what generating models write is checked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from incumbent.config.sections import Part


class TextConfig(Part):
    """Checks of generated text, of the models that say ``options = { generates = true }``."""

    blocked: tuple[str, ...] = ()  # words and phrases that are blocked beside the built-in ones
    scorers: tuple[str, ...] = ()  # more checks of language: registered names, or module:function
    price_tolerance: Annotated[int, Field(ge=0)] = 0  # minor units by which a stated price may be off
