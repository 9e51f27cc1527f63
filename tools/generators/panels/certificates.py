"""The row of certificates on the dashboard of components; empty without TLS."""

from typing import Final

from panels.queries import HERE, rate
from panels.shapes import Panel, Row

_COMPONENTS: Final = ("predictor", "extender", "operator")


CERTIFICATES: Final = Row(
    "Certificates",
    (
        Panel(
            "Time left",
            "Time until certificates in use end, own ones and the last of the authorities that are trusted; nothing without TLS.",
            "s",
            tuple(
                (f"min by (certificate) (stowplan_{name}_certificate_expiration_timestamp_seconds{{{HERE}}}) - time()", f"{name} {{{{certificate}}}}")
                for name in _COMPONENTS
            ),
            width=12,
        ),
        Panel(
            "Files that cannot be used",
            "Looks at files of certificates that cannot be used; those read before stay in use. One or two happen while files are replaced.",
            "ops",
            tuple((f"sum({rate(f'stowplan_{name}_certificate_reload_failures_total')})", name) for name in _COMPONENTS),
            width=12,
        ),
    ),
)
