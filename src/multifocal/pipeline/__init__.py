"""From a case on disk to a batch in memory: preprocessing, cache, augmentation."""
