"""What the loop does with metrics: rows, sides and states per shard, bands, slices, proxies, the tree."""
