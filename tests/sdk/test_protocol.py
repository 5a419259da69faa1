"""The generated protocol code is that of service.proto."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MESSAGES, MessageType, is_command, is_notification

from tests.tools.generate_protocol import compile_proto


def test_the_generated_code_is_that_of_the_proto_file(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="the protocol compiler is an extra of developers")
    compiled = tmp_path / "service.desc"
    compile_proto(f"--descriptor_set_out={compiled}")
    (fresh,) = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes()).file
    committed = descriptor_pb2.FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)
    for message in fresh.message_type:
        for part in (message, *message.nested_type):
            for field in part.field:
                field.ClearField("json_name")  # the compiler's own derivation, kept out of generated code
    assert committed == fresh


@pytest.mark.parametrize("type_", MessageType)
def test_each_type_is_control_command_or_notification(type_: MessageType) -> None:
    kinds = [type_ < 0x0400, is_command(type_), is_notification(type_)]
    assert kinds.count(True) == 1
    assert (MESSAGES[type_] is pb.Notification) is is_notification(type_)
    if is_command(type_):
        assert "name" in MESSAGES[type_].DESCRIPTOR.fields_by_name or type_ is MessageType.SEND_SIGNAL
