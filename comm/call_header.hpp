// A call as it travels to the other ranks before its data, so that no rank sends what another does not
// expect.
#pragma once

#include <cstddef>
#include <optional>

#include "comm/call.hpp"

namespace collie::comm {

// The header is in the machine's own byte order: all ranks of a run have the same kind of machine.
inline constexpr size_t header_bytes = 64;

void write_header(const Call& call, std::byte* to);

// Returns the call without its memory, or nothing if these bytes are no call.
std::optional<Call> read_header(const std::byte* from);

}  // namespace collie::comm
