"""The messages and services, compiled from the .proto files when this module is imported."""

import atexit
import importlib
import pathlib
import sys
import tempfile

import grpc_tools
from grpc_tools import protoc

_PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
_compiled = tempfile.TemporaryDirectory()
atexit.register(_compiled.cleanup)
_well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
_files = [str(path.relative_to(_PROTO)) for path in sorted(_PROTO.glob("consort/*/v1/*.proto"))]
_arguments = ["protoc", f"-I{_PROTO}", f"-I{_well_known}", f"--python_out={_compiled.name}", f"--grpc_python_out={_compiled.name}"]
if protoc.main(_arguments + _files) != 0:
    raise ImportError("the .proto files do not compile")
sys.path.insert(0, _compiled.name)

audit = importlib.import_module("consort.audit.v1.audit_pb2")
audit_rpc = importlib.import_module("consort.audit.v1.audit_pb2_grpc")
consent = importlib.import_module("consort.consent.v1.consent_pb2")
consent_rpc = importlib.import_module("consort.consent.v1.consent_pb2_grpc")
round_ = importlib.import_module("consort.round.v1.round_pb2")
round_rpc = importlib.import_module("consort.round.v1.round_pb2_grpc")
uplink = importlib.import_module("consort.uplink.v1.uplink_pb2")
uplink_rpc = importlib.import_module("consort.uplink.v1.uplink_pb2_grpc")
