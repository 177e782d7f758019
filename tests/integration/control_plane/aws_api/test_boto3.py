"""boto3, as people use it, against the API on a real socket."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore.exceptions import ClientError, WaiterError

from tests.api_builders import behavior, cache_policy_config, distribution_config, quantified
from tests.builders import distributions_in
from tests.integration.api_server import ApiServer, client, running_api

QUICK = {"Delay": 0.05, "MaxAttempts": 100}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    with running_api(tmp_path) as server:
        yield server


@pytest.fixture
def cloudfront(api: ApiServer) -> Iterator[Any]:
    opened = client(api.endpoint)
    yield opened
    opened.close()


def test_the_life_of_a_distribution(api: ApiServer, cloudfront: Any) -> None:
    created = cloudfront.create_distribution(DistributionConfig=distribution_config(Comment="<é> & more"))
    identifier = created["Distribution"]["Id"]
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert created["Location"] == f"{api.endpoint}/2020-05-31/distribution/{identifier}"

    read = cloudfront.get_distribution_config(Id=identifier)
    assert read["DistributionConfig"]["Comment"] == "<é> & more"
    disabled = {**read["DistributionConfig"], "Enabled": False}
    updated = cloudfront.update_distribution(Id=identifier, IfMatch=read["ETag"], DistributionConfig=disabled)
    with pytest.raises(cloudfront.exceptions.PreconditionFailed):
        cloudfront.update_distribution(Id=identifier, IfMatch=read["ETag"], DistributionConfig=disabled)
    with pytest.raises(cloudfront.exceptions.DistributionNotDisabled):
        cloudfront.delete_distribution(Id=identifier, IfMatch=updated["ETag"])
    api.apply_everywhere()
    cloudfront.delete_distribution(Id=identifier, IfMatch=updated["ETag"])
    with pytest.raises(cloudfront.exceptions.NoSuchDistribution) as gone:
        cloudfront.get_distribution(Id=identifier)
    assert gone.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert gone.value.response["ResponseMetadata"]["RequestId"]


def test_waiters_end_when_every_node_has_it_and_not_before(api: ApiServer, cloudfront: Any) -> None:
    identifier = cloudfront.create_distribution(DistributionConfig=distribution_config())["Distribution"]["Id"]
    waiter = cloudfront.get_waiter("distribution_deployed")
    with pytest.raises(WaiterError, match="Max attempts"):
        waiter.wait(Id=identifier, WaiterConfig={"Delay": 0.01, "MaxAttempts": 3})
    with applied_soon(api):
        waiter.wait(Id=identifier, WaiterConfig=QUICK)

    batch = {"CallerReference": "r", "Paths": quantified("/*")}
    invalidation = cloudfront.create_invalidation(DistributionId=identifier, InvalidationBatch=batch)["Invalidation"]
    waiter = cloudfront.get_waiter("invalidation_completed")
    asked = {"DistributionId": identifier, "Id": invalidation["Id"]}
    with pytest.raises(WaiterError, match="Max attempts"):
        waiter.wait(**asked, WaiterConfig={"Delay": 0.01, "MaxAttempts": 3})
    with applied_soon(api):
        waiter.wait(**asked, WaiterConfig=QUICK)


@contextlib.contextmanager
def applied_soon(api: ApiServer) -> Iterator[None]:
    """The nodes acknowledge while the block runs."""
    timer = threading.Timer(0.1, api.apply_everywhere)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_errors_are_the_exceptions_that_clients_catch(api: ApiServer, cloudfront: Any) -> None:
    exceptions = cloudfront.exceptions
    created = cloudfront.create_distribution(DistributionConfig=distribution_config(Aliases=quantified("a.test")))
    identifier = created["Distribution"]["Id"]
    with pytest.raises(exceptions.DistributionAlreadyExists):
        cloudfront.create_distribution(DistributionConfig=distribution_config())
    with pytest.raises(exceptions.CNAMEAlreadyExists):
        cloudfront.create_distribution(
            DistributionConfig=distribution_config(CallerReference="2", Aliases=quantified("a.test"))
        )
    with pytest.raises(exceptions.InvalidIfMatchVersion):
        cloudfront.delete_distribution(Id=identifier)
    wrong = distribution_config(CallerReference="2", DefaultCacheBehavior=behavior(TargetOriginId="nowhere"))
    with pytest.raises(exceptions.NoSuchOrigin):
        cloudfront.create_distribution(DistributionConfig=wrong)
    wrong = distribution_config(CallerReference="2", DefaultCacheBehavior=behavior(SmoothStreaming=True))
    with pytest.raises(exceptions.InvalidArgument, match=r"DefaultCacheBehavior\.SmoothStreaming is not supported yet"):
        cloudfront.create_distribution(DistributionConfig=wrong)
    wrong = distribution_config(CallerReference="2", Aliases={"Quantity": 3, "Items": ["b.test"]})
    with pytest.raises(exceptions.InconsistentQuantities):
        cloudfront.create_distribution(DistributionConfig=wrong)
    with pytest.raises(exceptions.NoSuchInvalidation):
        cloudfront.get_invalidation(DistributionId=identifier, Id="I0")
    with pytest.raises(exceptions.NoSuchCachePolicy):
        cloudfront.get_cache_policy(Id="none")
    with pytest.raises(exceptions.UnsupportedOperation):
        cloudfront.list_functions()
    assert api.store.head_index == 1


def test_cache_policies(api: ApiServer, cloudfront: Any) -> None:
    created = cloudfront.create_cache_policy(CachePolicyConfig=cache_policy_config())
    policy_id = created["CachePolicy"]["Id"]
    config = distribution_config(DefaultCacheBehavior=behavior(CachePolicyId=policy_id))
    cloudfront.create_distribution(DistributionConfig=config)
    with pytest.raises(cloudfront.exceptions.CachePolicyInUse):
        cloudfront.delete_cache_policy(Id=policy_id, IfMatch=created["ETag"])
    cloudfront.update_cache_policy(
        Id=policy_id, IfMatch=created["ETag"], CachePolicyConfig=cache_policy_config(MinTTL=1)
    )
    assert api.store.head_index == 2
    listed = cloudfront.list_cache_policies(Type="custom")["CachePolicyList"]
    assert [item["CachePolicy"]["Id"] for item in listed["Items"]] == [policy_id]
    with pytest.raises(cloudfront.exceptions.IllegalDelete):
        cloudfront.delete_cache_policy(Id="658327ea-f89d-4fab-a63d-7e88639e58f6", IfMatch="E1")


def test_paginators_see_everything_once(cloudfront: Any) -> None:
    ids = {
        cloudfront.create_distribution(DistributionConfig=distribution_config(CallerReference=str(number)))[
            "Distribution"
        ]["Id"]
        for number in range(7)
    }
    pages = cloudfront.get_paginator("list_distributions").paginate(PaginationConfig={"PageSize": 3})
    assert sorted(item["Id"] for page in pages for item in page["DistributionList"]["Items"]) == sorted(ids)
    identifier = min(ids)
    invalidations = [
        cloudfront.create_invalidation(
            DistributionId=identifier, InvalidationBatch={"CallerReference": str(number), "Paths": quantified("/a")}
        )["Invalidation"]["Id"]
        for number in range(5)
    ]
    pages = cloudfront.get_paginator("list_invalidations").paginate(
        DistributionId=identifier, PaginationConfig={"PageSize": 2}
    )
    listed = [item["Id"] for page in pages for item in page["InvalidationList"]["Items"]]
    assert listed == invalidations[::-1]


def test_unsigned_and_wrongly_signed_requests_are_refused(api: ApiServer) -> None:
    assert code_of(client(api.endpoint, "somebody"), "list_distributions") == ("InvalidClientTokenId", 403)
    assert code_of(client(api.endpoint, "cdnlab", "guessed"), "list_distributions") == ("SignatureDoesNotMatch", 403)
    unsigned = client(api.endpoint)
    unsigned.meta.events.register("choose-signer.cloudfront", lambda **_: UNSIGNED)
    assert code_of(unsigned, "list_distributions") == ("MissingAuthenticationToken", 403)


def code_of(opened: Any, operation: str) -> tuple[str, int]:
    with pytest.raises(ClientError) as refused:
        getattr(opened, operation)()
    opened.close()
    response = refused.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_what_was_answered_is_there_after_a_restart(tmp_path: Path) -> None:
    with running_api(tmp_path) as server:
        first = client(server.endpoint)
        identifier = first.create_distribution(DistributionConfig=distribution_config())["Distribution"]["Id"]
        batch = {"CallerReference": "r", "Paths": quantified("/a")}
        invalidation = first.create_invalidation(DistributionId=identifier, InvalidationBatch=batch)["Invalidation"]
        first.close()
    with running_api(tmp_path) as server:
        second = client(server.endpoint)
        assert second.get_invalidation(DistributionId=identifier, Id=invalidation["Id"])["Invalidation"] == invalidation
        again = second.create_invalidation(DistributionId=identifier, InvalidationBatch=batch)["Invalidation"]
        assert again["Id"] == invalidation["Id"] and server.store.head_index == 2
        second.close()


def test_countries_and_protocols_of_viewers(api: ApiServer, cloudfront: Any) -> None:
    whitelist = {"GeoRestriction": {"RestrictionType": "whitelist", **quantified("DE", "FR")}}
    config = distribution_config(
        Restrictions=whitelist,
        DefaultCacheBehavior=behavior(ViewerProtocolPolicy="redirect-to-https"),
        CacheBehaviors=quantified(behavior(PathPattern="/a", ViewerProtocolPolicy="https-only")),
    )
    identifier = cloudfront.create_distribution(DistributionConfig=config)["Distribution"]["Id"]
    read = cloudfront.get_distribution_config(Id=identifier)
    answered = read["DistributionConfig"]
    assert answered["Restrictions"] == whitelist
    assert answered["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "redirect-to-https"
    assert answered["CacheBehaviors"]["Items"][0]["ViewerProtocolPolicy"] == "https-only"
    (published,) = distributions_in(api.store.snapshot())
    assert list(published.geo_restriction.countries) == ["DE", "FR"]
    answered["Restrictions"]["GeoRestriction"] = {"RestrictionType": "blacklist", **quantified("XX")}
    with pytest.raises(cloudfront.exceptions.InvalidGeoRestrictionParameter) as refused:
        cloudfront.update_distribution(Id=identifier, IfMatch=read["ETag"], DistributionConfig=answered)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "GeoRestriction.Items[0] must be a country code of ISO 3166-1 alpha-2" in str(refused.value)
