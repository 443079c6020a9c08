"""Frames by the million: masks in shards, on one machine or a Ray cluster.

:func:`edgeseg.labelling.run.label` makes them, :func:`edgeseg.labelling.manifest.check_shards` sees whether
all of them are whole, and :func:`edgeseg.labelling.shards.read_shard` reads them back.
"""
