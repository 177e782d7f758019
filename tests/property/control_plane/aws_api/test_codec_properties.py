"""Whatever bytes arrive, the codec accepts or raises ApiError; whatever it writes, an XML parser reads back."""

from collections.abc import Callable
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.aws_api.codec import WireRequest, decode_request, encode_error, encode_response
from control_plane.aws_api.errors import ApiError
from control_plane.aws_api.model import NAMESPACE, load_model
from control_plane.aws_api.signature import SignedRequest, verify
from tests.api_builders import NOW
from tests.depth import examples

MODEL = load_model()
CREATE = MODEL.operation_model("CreateDistribution")
GET = MODEL.operation_model("GetInvalidation")

DOCUMENT = (
    f'<?xml version="1.0"?><DistributionConfig xmlns="{NAMESPACE}"><CallerReference>r</CallerReference>'
    "<Aliases><Quantity>1</Quantity><Items><CNAME>a.test</CNAME></Items></Aliases><Enabled>true</Enabled>"
    "<Comment>&lt;&amp;&#13;</Comment></DistributionConfig>"
).encode()


def decode_or_refuse(body: bytes) -> None:
    code = code_of(lambda: decode_request(CREATE, WireRequest({}, {}, {}, body)))
    assert code in (None, "MalformedXML", "MissingBody")


def code_of(action: Callable[[], object]) -> str | None:
    """The code of the refusal, or None when it is accepted. Anything else that is raised is a mistake of ours."""
    try:
        action()
    except ApiError as error:
        return error.code
    return None


@settings(max_examples=examples(150))
@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    decode_or_refuse(body)


@settings(max_examples=examples(150))
@given(st.data())
def test_a_document_with_bytes_cut_out_put_in_or_replaced(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(DOCUMENT)))
    end = data.draw(st.integers(start, min(len(DOCUMENT), start + 30)))
    decode_or_refuse(DOCUMENT[:start] + data.draw(st.binary(max_size=30)) + DOCUMENT[end:])


@given(st.text())
def test_any_text_survives_the_way_out_as_far_as_xml_can_say_it(text: str) -> None:
    batch = {"CallerReference": text, "Paths": {"Quantity": 1, "Items": [text]}}
    invalidation = {"Id": "I1", "Status": "Completed", "CreateTime": NOW, "InvalidationBatch": batch}
    root = ET.fromstring(encode_response(GET, {"Invalidation": invalidation}).body)
    read = root.findtext(f".//{{{NAMESPACE}}}CallerReference")
    assert read is not None and len(read) == len(text)
    assert all(got in (wanted, "\ufffd") for got, wanted in zip(read, text, strict=True))
    ET.fromstring(encode_error(text, text, 400, text))


@settings(max_examples=examples(150))
@given(st.text(max_size=200), st.text(max_size=20), st.dictionaries(st.text(min_size=1), st.text(), max_size=5))
def test_any_authorization_is_refused_not_tripped_over(authorization: str, date: str, headers: dict[str, str]) -> None:
    on_wire = {**headers, "host": "h", "authorization": authorization, "x-amz-date": date}
    request = SignedRequest("GET", "/", "", on_wire, b"")
    assert code_of(lambda: verify(request, {"cdnlab": "secret"}, NOW)) in (
        "MissingAuthenticationToken",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
    )
