from __future__ import annotations

import pytest

from balena_supervisor.runtime.mask import masked


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"apiKey": "x", "name": "y"}, {"apiKey": "***", "name": "y"}),
        ({"Password": {"a": 1}}, {"Password": "***"}),
        ({"token": ""}, {"token": ""}),
        ({"token": None, "has_key": True}, {"token": None, "has_key": True}),
        ([{"client_secret": 5}], [{"client_secret": "***"}]),
        (("API_TOKEN=abc def", "PATH=/bin"), ["API_TOKEN=***", "PATH=/bin"]),
        ("https://api/x?apikey=abc&filter=1", "https://api/x?apikey=***&filter=1"),
        ("http://user:pass@host/x", "http://user:***@host/x"),
        ("https://host:8080/a:b@c", "https://host:8080/a:b@c"),
        ({"scopes": {"abc": [{"type": "global"}]}}, {"scopes": {"***1": [{"type": "global"}]}}),
        ("no secret here", "no secret here"),
        (b"bytes", b"bytes"),
    ],
)
def test_secrets_are_hidden_and_the_rest_is_shown(shown: object, expected: object) -> None:
    assert masked(shown) == expected
