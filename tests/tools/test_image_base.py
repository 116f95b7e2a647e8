from __future__ import annotations

import pytest

from tools.dev_parts.image_base import pip_settings


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("", ""),
        ("global.cert='/etc/ssl/own.pem'\n:env:.timeout='9'", ""),
        ("global.extra-index-url='file:///opt/simple /opt/wheels'", ""),
        ("global.index-url='https://mirror.test/simple'", "[global]\nindex-url = https://mirror.test/simple\n"),
        (
            "global.index-url='https://one.test/simple'\n:env:.index-url='https://two.test/simple'",
            "[global]\nindex-url = https://two.test/simple\n",
        ),
        (
            "global.extra-index-url='https://a.test/x file:///opt/x https://b.test/y'\nuser.trusted-host='a.test'",
            "[global]\nextra-index-url = https://a.test/x https://b.test/y\ntrusted-host = a.test\n",
        ),
    ],
)
def test_a_build_asks_the_registries_of_the_machine_but_not_its_folders(listed: str, expected: str) -> None:
    assert pip_settings(listed) == expected
