from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from apiauth.models import User


def signed_in(username: str, *, role: str) -> Client:
    """A browser in which a person with this role has signed in."""
    user = User.objects.create_user(username, f"{username}@example.edu", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def administrator(db: None) -> Client:
    return signed_in("ada", role="Administrator")


@pytest.fixture
def advisor(db: None) -> Client:
    return signed_in("vera", role="Advisor")


@pytest.fixture
def auditor(db: None) -> Client:
    return signed_in("otto", role="Auditor")
