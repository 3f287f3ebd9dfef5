"""What came in: data quality per day, quarantine, and messages that were mended."""
