// A group of ranks that are joined by a byte link: threads of several processes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/byte_link.hpp"
#include "comm/process_group.hpp"

namespace collie {

// This rank's end of a group of some of the link's ranks: rank i of the group is rank members[i] of the link.
// `number` tells apart the groups that share a link. Two groups with the same number may have no rank in
// common. All members must make the group with the same arguments. Throws std::logic_error if `members` are
// not different ranks of the link, this end's own among them, if number is 2^31 or more, or if the link's
// messages are shorter than 16 KiB.
//
// Results are bitwise those of the in-process group: sums are taken in rank order, by direct exchange. Data
// go straight from tensor to tensor. Sums need scratch, which is charged to `account`: per other rank, one
// piece for each place of the exchange's window, and 32 KiB for calls that are small enough to travel with
// their header.
//
// It differs from what ProcessGroup says as follows:
// - A failure is the whole link's: abort(), a mismatch or the death of a rank ends every group on the link,
//   on every rank that can be reached.
// - Ranks find out about different calls as they hear from each other, in the order rank + 1, rank + 2, ...
//   This comes later than at once if a rank in between has not come. If several pairs of ranks differ, ranks
//   may name different pairs.
// - An abort may end an operation at which all ranks have arrived. Ranks are then at most one operation
//   apart.
// - After a failure, tensors of the operation remain referenced, and may be written to, until the link is
//   gone.
std::shared_ptr<ProcessGroup> make_linked_group(std::shared_ptr<comm::ByteLink> link,
                                                const std::vector<int>& members, uint32_t number,
                                                const std::shared_ptr<MemoryAccount>& account);

}  // namespace collie
