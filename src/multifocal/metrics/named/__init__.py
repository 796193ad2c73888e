"""The metrics, one registered function each; a module added here is found by `multifocal.metrics.METRICS`."""
