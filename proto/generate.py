"""Generates the Python code of the protocol, and the image that `buf` reads.

    python proto/generate.py code OUT        messages, services and their type stubs, below OUT
    python proto/generate.py image OUT       one descriptor set with comments, for `buf`
    python proto/generate.py baseline OUT    the same without comments, kept to compare with

The proto package path is the Python package path, so the generated imports resolve as they are.
`buf/validate/validate.proto` is in no Python package as text, so its descriptor is taken from the
protovalidate package; `google/{api,rpc,type}` come from googleapis-common-protos. Nothing is
downloaded.
"""

import argparse
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from google.rpc import status_pb2
from grpc_tools import protoc
from protovalidate._gen.buf.validate import validate_pb

VALIDATE_PROTO = "buf/validate/validate.proto"
GENERATED = '"""Generated from proto/ by `make proto`: not to be edited."""\n'


class GenerationError(Exception):
    """protoc refused the sources; its own message is on standard error."""


def write_validate_descriptors(path: Path) -> None:
    """Writes validate.proto and what it imports, dependencies first, as a FileDescriptorSet."""
    descriptors = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        module.DESCRIPTOR.CopyToProto(descriptors.file.add())
    # Not part of protovalidate's public face; the lock file pins the version that has it.
    descriptors.file.add().ParseFromString(validate_pb._DESC.proto.to_binary())
    path.write_bytes(descriptors.SerializeToString())


def run_protoc(proto: Path, scratch: Path, *arguments: str) -> None:
    """Runs the protoc inside grpcio-tools with every import at hand, or raises GenerationError."""
    validate = scratch / "validate.binpb"
    write_validate_descriptors(validate)
    google_sources = Path(status_pb2.__file__).parents[2]
    well_known = Path(protoc.__file__).parent / "_proto"
    status = protoc.main(
        [
            "protoc",
            f"--descriptor_set_in={validate}",
            *(f"-I{root}" for root in (proto, google_sources, well_known)),
            *arguments,
        ]
    )
    if status != 0:
        raise GenerationError


def plugin(name: str) -> str:
    """The option that points protoc to a generator installed beside this interpreter."""
    return f"--plugin={name}={Path(sysconfig.get_path('scripts')) / name}"


def sources(proto: Path) -> list[str]:
    """Our own .proto files, relative to `proto`."""
    return sorted(path.relative_to(proto).as_posix() for path in proto.rglob("*.proto"))


def generate_code(proto: Path, out: Path) -> None:
    """Writes `*_pb2.py`, `*_pb2_grpc.py` and their `.pyi` for all of `proto`, and `buf.validate`.

    Made in a scratch folder and moved into place package by package: refused sources leave the
    last good code, and a deleted source leaves nothing behind.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".proto-") as name:
        scratch = Path(name)
        made = scratch / "made"
        made.mkdir()
        messages = (f"--python_out={made}", plugin("protoc-gen-mypy"), f"--mypy_out=quiet:{made}")
        services = (
            f"--grpc_python_out={made}",
            plugin("protoc-gen-mypy_grpc"),
            f"--mypy_grpc_out=quiet:{made}",
        )
        run_protoc(proto, scratch, *messages, VALIDATE_PROTO)
        run_protoc(proto, scratch, *messages, *services, *sources(proto))
        for package in sorted({path.parent for path in made.rglob("*.py")}):
            (package / "__init__.py").write_text(GENERATED)
            target = out / package.relative_to(made)
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            package.rename(target)
        (out / "buf" / "__init__.py").write_text(GENERATED)


def write_image(proto: Path, out: Path, *, comments: bool) -> None:
    """Writes all of `proto` with its imports as one FileDescriptorSet (buf calls it an image)."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        made = Path(name) / out.name
        run_protoc(
            proto,
            Path(name),
            "--include_imports",
            *(["--include_source_info"] if comments else []),
            f"--descriptor_set_out={made}",
            *sources(proto),
        )
        shutil.copyfile(made, out)


def main() -> int:
    """Reads the command line; 0 when the output was written, 1 when protoc refused the sources."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("code", "image", "baseline"))
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--proto", type=Path, default=Path(__file__).parent, help="folder of sources"
    )
    arguments = parser.parse_args()
    proto: Path = arguments.proto.resolve()
    if not sources(proto):
        parser.error(f"there is no .proto file below {proto}")
    out = arguments.out.resolve()
    try:
        if arguments.what == "code":
            generate_code(proto, out)
        else:
            write_image(proto, out, comments=arguments.what == "image")
    except GenerationError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
