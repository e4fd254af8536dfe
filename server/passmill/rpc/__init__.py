"""The gRPC face: decode, check, call one use case, encode. The only layer that knows protobuf and
grpc."""
