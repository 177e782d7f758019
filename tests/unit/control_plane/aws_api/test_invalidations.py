"""Invalidations through the whole API but its sockets: reference 4."""

import re
from typing import Any

import pytest

from control_plane.aws_api.errors import ApiError
from control_plane.state import Invalidate
from proto.cdn.v1 import configuration_pb2
from tests.api_builders import WireApi, distribution_config, quantified


@pytest.fixture
def api() -> WireApi:
    return WireApi()


@pytest.fixture
def identifier(api: WireApi) -> str:
    created = api.do("CreateDistribution", DistributionConfig=distribution_config())
    api.apply_everywhere()
    distribution_id: str = created["Distribution"]["Id"]
    return distribution_id


def batch(*paths: str, reference: str = "r") -> dict[str, Any]:
    return {"CallerReference": reference, "Paths": quantified(*paths)}


def invalidate(api: WireApi, identifier: str, *paths: str, reference: str = "r") -> Any:
    return api.do("CreateInvalidation", DistributionId=identifier, InvalidationBatch=batch(*paths, reference=reference))


def refusal_of(api: WireApi, identifier: str, invalidation_batch: dict[str, Any]) -> ApiError:
    before = dict(api.store.documents), list(api.store.changes)
    with pytest.raises(ApiError) as caught:
        api.do("CreateInvalidation", DistributionId=identifier, InvalidationBatch=invalidation_batch)
    assert (api.store.documents, api.store.changes) == before
    return caught.value


def test_an_invalidation_is_an_entry_of_the_log(api: WireApi, identifier: str) -> None:
    created = invalidate(api, identifier, "/a", "/b/*")
    invalidation = created["Invalidation"]
    assert re.fullmatch("I[A-Z0-9]{13}", invalidation["Id"])
    assert invalidation["Status"] == "InProgress"
    assert invalidation["InvalidationBatch"] == batch("/a", "/b/*")
    assert created["Location"].endswith(f"/2020-05-31/distribution/{identifier}/invalidation/{invalidation['Id']}")
    message = configuration_pb2.Invalidation(id=invalidation["Id"], distribution_id=identifier, paths=["/a", "/b/*"])
    assert api.store.changes[-1] == Invalidate(message)
    (record,) = api.store.invalidations
    assert (record.id, record.distribution_id, record.index) == (invalidation["Id"], identifier, 2)
    assert record.paths == ("/a", "/b/*")


def test_it_is_completed_when_every_node_has_it(api: WireApi, identifier: str) -> None:
    created = invalidate(api, identifier, "/a")["Invalidation"]
    read = {"DistributionId": identifier, "Id": created["Id"]}
    assert api.do("GetInvalidation", **read)["Invalidation"] == created
    assert api.do("GetDistribution", Id=identifier)["Distribution"]["InProgressInvalidationBatches"] == 1
    api.apply_everywhere()
    assert api.do("GetInvalidation", **read)["Invalidation"] == {**created, "Status": "Completed"}
    assert api.do("GetDistribution", Id=identifier)["Distribution"]["InProgressInvalidationBatches"] == 0
    invalidate(api, identifier, "/b", reference="second")
    invalidate(api, identifier, "/c", reference="third")
    assert api.do("GetDistribution", Id=identifier)["Distribution"]["InProgressInvalidationBatches"] == 2


def test_asking_again_for_the_same_gives_the_same(api: WireApi, identifier: str) -> None:
    first = invalidate(api, identifier, "/a", "/b")
    api.apply_everywhere()
    again = invalidate(api, identifier, "/b", "/a")
    assert again["Invalidation"]["Id"] == first["Invalidation"]["Id"]
    assert again["Invalidation"]["Status"] == "Completed"
    assert len(api.store.entries) == 2


def test_the_same_reference_for_other_paths_is_refused(api: WireApi, identifier: str) -> None:
    invalidate(api, identifier, "/a")
    assert refusal_of(api, identifier, batch("/a", "/b")).code == "InvalidationBatchAlreadyExists"


def test_a_reference_is_of_one_distribution(api: WireApi, identifier: str) -> None:
    other = api.do("CreateDistribution", DistributionConfig=distribution_config(CallerReference="second"))
    first = invalidate(api, identifier, "/a")["Invalidation"]
    second = invalidate(api, other["Distribution"]["Id"], "/b")["Invalidation"]
    assert first["Id"] != second["Id"]
    with pytest.raises(ApiError) as caught:
        api.do("GetInvalidation", DistributionId=identifier, Id=second["Id"])
    assert caught.value.code == "NoSuchInvalidation"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/*",
        "/a",
        "/a*",
        "/a/*",
        "/a*b",
        "/a.jpg?x=1&y=%20",
        "/%C3%A9",
        "/a//b",
        "/-._!$&'()+,;=:@",
        "/" + "a" * 3999,
    ],
)
def test_paths_that_may_be_invalidated(api: WireApi, identifier: str, path: str) -> None:
    assert invalidate(api, identifier, path)["Invalidation"]["InvalidationBatch"]["Paths"]["Items"] == [path]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "must begin with /"),
        ("a", "must begin with /"),
        ("*", "must begin with /"),
        ("http://x/a", "must begin with /"),
        ("#tag", "cache tags are not there"),
        ("/" + "a" * 4000, "at most 4000 characters, not 4001"),
        ("/~a", "must not hold ~"),
        ("/a b", "percent-encoded"),
        ("/é", "percent-encoded"),
        ("/a%2", "percent-encoded"),
        ("/a%zz", "percent-encoded"),
        ("/a#b", "percent-encoded"),
        ("/a\nb", "percent-encoded"),
        ("/a\n", "percent-encoded"),
        ('/"', "percent-encoded"),
        ("/[x]", "percent-encoded"),
    ],
)
def test_paths_that_may_not(api: WireApi, identifier: str, path: str, message: str) -> None:
    error = refusal_of(api, identifier, batch("/fine", path))
    assert error.code == "InvalidArgument"
    assert error.message.startswith("InvalidationBatch.Paths.Items[1]") and message in error.message


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"CallerReference": "r", "Paths": {"Quantity": 0}}, "InvalidArgument"),
        ({"CallerReference": "r", "Paths": {"Quantity": 2, "Items": ["/a"]}}, "InconsistentQuantities"),
        ({"CallerReference": "", "Paths": quantified("/a")}, "InvalidArgument"),
        ({"CallerReference": "r" * 1025, "Paths": quantified("/a")}, "InvalidArgument"),
        (batch(*(f"/{number}" for number in range(3001))), "BatchTooLarge"),
    ],
)
def test_batches_that_are_none(api: WireApi, identifier: str, bad: dict[str, Any], code: str) -> None:
    assert refusal_of(api, identifier, bad).code == code


def test_file_paths_in_progress_are_limited(api: WireApi, identifier: str) -> None:
    invalidate(api, identifier, *(f"/{number}" for number in range(3000)))
    error = refusal_of(api, identifier, batch("/one-more", reference="second"))
    assert error.code == "TooManyInvalidationsInProgress" and "3000 paths" in error.message
    invalidate(api, identifier, "/*", reference="wildcards are counted apart")
    api.apply_everywhere()
    invalidate(api, identifier, "/one-more", reference="second")


def test_wildcard_paths_in_progress_are_limited(api: WireApi, identifier: str) -> None:
    for number in range(15):
        invalidate(api, identifier, f"/{number}/*", reference=str(number))
    error = refusal_of(api, identifier, batch("/x*", reference="one more"))
    assert error.code == "TooManyInvalidationsInProgress" and "15 wildcard" in error.message
    other = api.do("CreateDistribution", DistributionConfig=distribution_config(CallerReference="second"))
    invalidate(api, other["Distribution"]["Id"], "/x*")


def test_lists_are_newest_first_and_in_pages(api: WireApi, identifier: str) -> None:
    ids = [invalidate(api, identifier, "/a", reference=str(number))["Invalidation"]["Id"] for number in range(5)][::-1]
    page = api.do("ListInvalidations", DistributionId=identifier, MaxItems="2")["InvalidationList"]
    assert [item["Id"] for item in page["Items"]] == ids[:2] and page["NextMarker"] == ids[1]
    assert {item["Status"] for item in page["Items"]} == {"InProgress"}
    page = api.do("ListInvalidations", DistributionId=identifier, MaxItems="5", Marker=ids[1])["InvalidationList"]
    assert [item["Id"] for item in page["Items"]] == ids[2:] and not page["IsTruncated"]
    with pytest.raises(ApiError) as caught:
        api.do("ListInvalidations", DistributionId=identifier, Marker="INEVERSEEN")
    assert caught.value.code == "InvalidArgument"


def test_the_oldest_completed_ones_are_forgotten(
    api: WireApi, identifier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.aws_api.invalidations.RETAINED_INVALIDATIONS", 3)
    ids = [invalidate(api, identifier, "/a", reference=str(number))["Invalidation"]["Id"] for number in range(4)]
    assert _listed(api, identifier) == ids[::-1]  # none is completed
    api.deployment.applied_index = 3  # the first two are
    ids.append(invalidate(api, identifier, "/a", reference="5")["Invalidation"]["Id"])
    assert _listed(api, identifier) == ids[:1:-1]
    assert [record.id for record in api.store.invalidations] == ids[2:]


def _listed(api: WireApi, identifier: str) -> list[str]:
    page = api.do("ListInvalidations", DistributionId=identifier)["InvalidationList"]
    return [item["Id"] for item in page["Items"]]
