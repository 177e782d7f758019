"""botocore's own description of CloudFront: the source of routes, members, types and statuses. Nothing about an operation is written down a second time."""

from botocore.loaders import Loader
from botocore.model import ServiceModel

SERVICE = "cloudfront"
API_VERSION = "2020-05-31"
NAMESPACE = f"http://cloudfront.amazonaws.com/doc/{API_VERSION}/"


def load_model() -> ServiceModel:
    """The model of the version of botocore that is installed; takes about 20 ms."""
    description = Loader().load_service_model(SERVICE, "service-2", API_VERSION)
    return ServiceModel(description, SERVICE)
