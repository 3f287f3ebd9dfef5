"""What the loop does about drift: streams, windows, baselines, watches and the ledger; `loop.detect` judges."""
