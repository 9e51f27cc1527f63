"""Commands that measure, or rest on what was measured: `device`, `measure`, `profile`, `evaluate`, `calibrate`."""
