"""Write service_pb2.py and service_pb2.pyi from service.proto: ``python tests/tools/generate_protocol.py``."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROTO = "understudy/protocol/service.proto"


def compile_proto(*outputs: str) -> None:
    """Run the compiler for *outputs* (its own options).  Raises RuntimeError when it refuses."""
    from grpc_tools import protoc  # type: ignore[import-untyped, unused-ignore]

    status = protoc.main(["protoc", f"--proto_path={ROOT / 'sdk'}", *outputs, PROTO])
    if status != 0:
        raise RuntimeError(f"protoc ended with {status}")


def main() -> int:
    """Regenerate both files in place."""
    compile_proto(f"--python_out={ROOT / 'sdk'}", f"--pyi_out={ROOT / 'sdk'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
