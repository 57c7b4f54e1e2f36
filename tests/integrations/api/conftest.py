"""Partners that call the API."""

from tests.apiauth.conftest import counted, counting_server, partner

__all__ = ["counted", "counting_server", "partner"]
