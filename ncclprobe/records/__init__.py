"""Every record that crosses a module border, a module for each command.

Schema history: each document's ``schema`` ends in a version; a change of meaning raises it and is told here.

- ``*/1``  2026-11: first. Since: ``validate-e2e`` has ``telemetry`` in its trials (a field more, no change of meaning).
"""
