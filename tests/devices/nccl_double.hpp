// NCCL as tests have it: its functions on emulated devices, with what they promise and demand of their
// callers (NCCL 2.14's user guide; nonblocking communicators).
//
// - A communicator is ready when all ranks have come, each with a device of its own.
// - A call returns at once, in progress; the next one may come when the communicator was asked and says so.
//   Calls between group_start() and group_end() are one. The first transfer from one rank to another connects
//   them: it is in progress until the other has called, too.
// - On the device a call begins in the order of its stream and waits there for the other ranks.
// - Ranks must make the same calls in the same order. Where NCCL would hang, the double says so: invalid
// usage
//   on every rank, with both calls in the last error.
// - Sums are taken from the last rank to the first, and rounded after every addition: not in rank order.
// - An aborted communicator's calls leave the device without a result; the other ranks' go on waiting.
#pragma once

#include <string>
#include <vector>

#include "comm/nccl/api.hpp"

namespace collie::test {

const nccl::Api& nccl_double();

// Every communicator loses its connection to this rank: a remote error on the others.
void lose_nccl_rank(int rank);

// The calls of ranks on this device, in their order, since the last time: "all_reduce of 12 float32".
std::vector<std::string> take_nccl_calls(int device);

}  // namespace collie::test
