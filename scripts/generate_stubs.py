"""Generates wattkeeper/rpc from protos/: messages, their types, service classes, and types for those.

    python scripts/generate_stubs.py [FOLDER]

Without FOLDER it writes to wattkeeper/rpc. The output is committed; a test generates it anew and fails on a difference.
"""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import run
from tempfile import TemporaryDirectory

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PACKAGE = "wattkeeper/rpc"


def generate(target: Path) -> None:
    """Writes the stubs of every proto into a folder.

    Args:
        target: the folder that stands for wattkeeper/rpc.

    Raises:
        CalledProcessError: protoc refused a file; its own words are on standard error.
    """
    sources = sorted(path.name for path in PROTOS.glob("*.proto"))
    with TemporaryDirectory() as folder:
        descriptors = Path(folder, "descriptors")
        run(
            [
                *(sys.executable, "-m", "grpc_tools.protoc"),
                # Under this virtual path the files import each other as wattkeeper.rpc.X, not as top-level modules.
                f"-I{PACKAGE}={PROTOS}",
                f"--python_out={folder}",
                f"--pyi_out={folder}",
                f"--grpc_python_out={folder}",
                f"--descriptor_set_out={descriptors}",
                *(f"{PACKAGE}/{source}" for source in sources),
            ],
            check=True,
            timeout=60,
        )
        target.mkdir(parents=True, exist_ok=True)
        for made in sorted(Path(folder, PACKAGE).iterdir()):
            (target / made.name).write_text(made.read_text())
        for file in FileDescriptorSet.FromString(descriptors.read_bytes()).file:
            (target / f"{Path(file.name).stem}_pb2_grpc.pyi").write_text(service_types(file))


def service_types(file: FileDescriptorProto) -> str:
    """Returns the .pyi of a file's services, which protoc does not write.

    Clients are typed as grpc.aio has them; messages of other files are not supported.
    """
    module = f"{Path(file.name).stem}_pb2"
    lines = [
        "from collections.abc import AsyncIterator",
        "",
        "import grpc.aio",
        "",
        f"from wattkeeper.rpc import {module}",
    ]
    for service in file.service:
        lines += ["", f"class {service.name}Stub:", "    def __init__(self, channel: grpc.aio.Channel) -> None: ..."]
        lines += [_client_method(method, module) for method in service.method]
        lines += ["", f"class {service.name}Servicer:"]
        lines += [_server_method(method, module) for method in service.method]
        lines += [
            "",
            f"def add_{service.name}Servicer_to_server(servicer: {service.name}Servicer, server: grpc.aio.Server)"
            " -> None: ...",
        ]
    return "\n".join(lines) + "\n"


def _types(method: MethodDescriptorProto, module: str) -> tuple[str, str]:
    return f"{module}.{method.input_type.rpartition('.')[2]}", f"{module}.{method.output_type.rpartition('.')[2]}"


def _client_method(method: MethodDescriptorProto, module: str) -> str:
    request, response = _types(method, module)
    kind = f"{'Stream' if method.client_streaming else 'Unary'}{'Stream' if method.server_streaming else 'Unary'}"
    return f"    {method.name}: grpc.aio.{kind}MultiCallable[{request}, {response}]"


def _server_method(method: MethodDescriptorProto, module: str) -> str:
    request, response = _types(method, module)
    taken = f"request_iterator: AsyncIterator[{request}]" if method.client_streaming else f"request: {request}"
    context = f"context: grpc.aio.ServicerContext[{request}, {response}]"
    if method.server_streaming:
        # A plain def: an async generator function returns the iterator without being awaited.
        return f"    def {method.name}(self, {taken}, {context}) -> AsyncIterator[{response}]: ..."
    return f"    async def {method.name}(self, {taken}, {context}) -> {response}: ..."


def main(arguments: list[str]) -> int:
    """Generates into the folder that is named, or into wattkeeper/rpc."""
    generate(Path(arguments[0]) if arguments else ROOT / PACKAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
