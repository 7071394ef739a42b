"""One consortium for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import consort
import pytest

from .consortium import Consortium


@pytest.fixture(scope="session")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    started = Consortium(tmp_path_factory.mktemp("sdk"))
    yield started
    started.close()


@pytest.fixture
def client(consortium: Consortium) -> Iterator[consort.Client]:
    with consort.connect(consortium.url, ca=consortium.ca, token_file=consortium.token_file) as client:
        yield client
