"""The generic REST connector: the contract, filled in by an administrator instead of a programmer."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import urldefrag, urljoin

import jmespath
from pydantic import BaseModel, ConfigDict, Field, field_validator

from integrations.connectors.authentication import secret_parameter_names, with_query, without_query
from integrations.connectors.base import Answer
from integrations.connectors.incremental import Incremental
from integrations.connectors.pagination import NoPagination, Pagination, Received, check_expression
from integrations.connectors.templated import TemplatedOperations
from integrations.models import Stream
from integrations.models.connection import origin_of
from integrations.transports.error_table import USUAL_ERRORS, ErrorTable, Rule
from integrations.transports.errors import ErrorClass, NotUnderstood
from integrations.transports.http import Request


class Endpoint(BaseModel):
    """Where a dataset's records lie: path, place in the answer, pages. Parameters are kept among the secrets."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str = ""
    records: str = "@"
    pagination: Pagination = Field(default_factory=NoPagination)
    incremental: Incremental | None = None

    @field_validator("records")
    @classmethod
    def _is_expression(cls, value: str) -> str:
        return check_expression(value or "@")


class RestConnector(TemplatedOperations):
    key: ClassVar[str] = "rest"
    label: ClassVar[str] = "Generic REST"
    datasets: ClassVar[frozenset[str]] = frozenset({"aid_awards", "housing_assignments"})
    has_endpoints: ClassVar[bool] = True
    errors: ClassVar[ErrorTable] = ErrorTable(
        rules=(Rule(ErrorClass.EXISTS, status=409, words="it has something like this already"),),
        in_success=USUAL_ERRORS.in_success,
    )

    def request_page(self, stream: Stream, token: str, since: str) -> Request:
        endpoint = Endpoint.model_validate(stream.endpoint)
        url = self._first_address(endpoint)
        params = dict(stream.params)
        if since and endpoint.incremental:
            params[endpoint.incremental.param] = since
        if endpoint.pagination.follows_addresses and token:
            url = self._address(url, token, stream)
            params = {}
        return Request(
            with_query(url, {**params, **endpoint.pagination.params(token)}),
            headers=self.connection.secrets.get("headers", {}),
            auth=self.auth,
        )

    def read_page(self, stream: Stream, token: str, received: Received, read: int) -> Answer:
        endpoint = Endpoint.model_validate(stream.endpoint)
        records = jmespath.search(endpoint.records, received.body)
        if not isinstance(records, list):
            raise NotUnderstood(f"the answer has no list of records at {endpoint.records!r}")
        following = endpoint.pagination.token_after(token, received, len(records), read + len(records))
        if endpoint.pagination.follows_addresses and following:
            following = self._token_of(following, urljoin(self._first_address(endpoint), token), stream)
        return Answer(records, following, endpoint.pagination.announced(received))

    def incremental(self, stream: Stream) -> Incremental | None:
        return Endpoint.model_validate(stream.endpoint).incremental

    def is_snapshot(self, stream: Stream) -> bool:
        return Endpoint.model_validate(stream.endpoint).pagination.is_snapshot

    def _first_address(self, endpoint: Endpoint) -> str:
        return f"{self.connection.base_url.rstrip('/')}/{endpoint.path.lstrip('/')}".rstrip("/")

    def _token_of(self, target: str, page_address: str, stream: Stream) -> str:
        """The next page's address as it is kept: whole, because it may be relative to the page that names it (RFC 3986
        section 5), and without our secrets, which it may repeat."""
        secret = secret_parameter_names(self.connection) | stream.params.keys()
        try:
            return without_query(urldefrag(urljoin(page_address, target)).url, secret)
        except ValueError:
            raise NotUnderstood("what should be the address of the next page is none") from None

    def _address(self, url: str, token: str, stream: Stream) -> str:
        """The next page's address, made whole. It has to stay with the system that our credentials are for."""
        address = urljoin(url, token)
        try:
            is_ours = origin_of(address) == self.connection.origin
        except ValueError:  # a port that is none
            is_ours = False
        if not is_ours:
            raise NotUnderstood(
                "the next page lies at another address than the connection's",
                advice="Our credentials are never sent elsewhere. If the system has moved, change the address.",
            )
        return with_query(address, stream.params)
