"""Two data sets compared column by column: options, windows, streams, one alarm over all of them, what is told."""
