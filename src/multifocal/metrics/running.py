"""The old place of `multifocal.metrics.torchmetrics`; its names are still found here, with a warning."""

from multifocal._moved import moved

__getattr__ = moved(
    __name__, {name: f"multifocal.metrics.torchmetrics.{name}" for name in ("CaseMetric", "CaseMetrics")}
)
