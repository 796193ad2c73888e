"""Where `load_model` and its like were: now `multifocal.systems`."""

from multifocal._moved import moved

__getattr__ = moved(
    __name__,
    {
        "Model": "multifocal.systems.System",
        "Prediction": "multifocal.systems.Prediction",
        "autocast_type": "multifocal.device.autocast_type",
        "choose_device": "multifocal.device.choose_device",
        "load_model": "multifocal.systems.load_model",
        "predict_cohort": "multifocal.systems.predict_cohort",
    },
)
