"""What encoder, ranker and reader share: checkpoints, fingerprints, position limits, batches, devices.

`models/reader/` holds the weights of the bundled reader.
"""
