"""Records: what happened, as frozen tagged structs. Floor 1: msgspec and the standard library only."""
