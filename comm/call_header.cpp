#include "comm/call_header.hpp"

#include <array>
#include <cstring>

namespace collie::comm {
namespace {

struct Header {
  uint32_t magic;
  uint8_t operation, dtype, shape_rank, zero;
  int32_t peer, zeros;
  std::array<int64_t, Shape::max_rank> dims;
};
static_assert(sizeof(Header) <= header_bytes);

constexpr uint32_t header_magic = 0x4c4c4f43;  // "COLL"

bool plausible(const Header& header) {
  if (header.magic != header_magic || header.operation > static_cast<uint8_t>(Operation::barrier) ||
      header.dtype > static_cast<uint8_t>(DType::i32) || header.shape_rank > Shape::max_rank)
    return false;
  for (const int64_t dim : header.dims)
    if (dim < 0) return false;
  return true;
}

}  // namespace

void write_header(const Call& call, std::byte* to) {
  Header header{};
  header.magic = header_magic;
  header.operation = static_cast<uint8_t>(call.operation);
  header.dtype = static_cast<uint8_t>(call.dtype);
  header.shape_rank = static_cast<uint8_t>(call.shape.rank());
  header.peer = call.peer;
  for (int axis = 0; axis < call.shape.rank(); ++axis)
    header.dims[static_cast<size_t>(axis)] = call.shape[axis];
  std::memset(to, 0, header_bytes);
  std::memcpy(to, &header, sizeof(header));
}

std::optional<Call> read_header(const std::byte* from) {
  Header header;
  std::memcpy(&header, from, sizeof(header));
  if (!plausible(header)) return std::nullopt;
  Call call;
  call.operation = static_cast<Operation>(header.operation);
  call.dtype = static_cast<DType>(header.dtype);
  call.shape = Shape::from({header.dims.data(), header.shape_rank});
  call.peer = header.peer;
  return call;
}

}  // namespace collie::comm
