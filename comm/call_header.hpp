// A call as it travels to the other ranks before its data, so that nobody sends what another does not expect.
#pragma once

#include <cstddef>
#include <optional>

#include "comm/call.hpp"

namespace collie::comm {

// In the machine's own byte order: the ranks of a run are of one kind.
inline constexpr size_t header_bytes = 64;

void write_header(const Call& call, std::byte* to);

// The call without its memory; nothing where these bytes are no call.
std::optional<Call> read_header(const std::byte* from);

}  // namespace collie::comm
