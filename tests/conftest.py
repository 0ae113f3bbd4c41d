"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# A machine under load is slow: how long an example takes tells nothing about the code.
settings.register_profile("mailrig", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("mailrig")
