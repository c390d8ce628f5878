// Ranks that are joined by a byte link: threads of several processes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/byte_link.hpp"
#include "comm/process_group.hpp"

namespace collie {

// This rank's end of a group of some of the link's ranks: rank i of the group is rank members[i] of the link.
// `number` tells apart the groups that share a link: two groups with the same number have no rank in common.
// All members must make the group with the same arguments. std::logic_error where `members` are not different
// ranks of the link, this end's own among them, where number is 2^31 or more, or where the link's messages
// are shorter than 16 KiB.
//
// Results are bitwise those of the in-process group: sums are taken in rank order, by direct exchange. Data
// go straight from tensor to tensor; sums need scratch, which is charged to `account`: a piece for each other
// rank and each place of the exchange's window, and for each other rank 32 KiB for calls that are small
// enough to travel with their header.
//
// Where it differs from what ProcessGroup says:
// - A failure is the whole link's: abort() and a mismatch end every group on it, on every rank that can be
// reached.
//   So does the death of a rank.
// - Different calls are found by ranks as they hear from each other, in the order rank + 1, rank + 2, ...:
// later than
//   at once where a rank in between has not come. Where several pairs of ranks differ, ranks may name
//   different pairs.
// - An abort may end an operation at which all ranks have arrived. Ranks are then at most one operation
// apart.
// - After a failure tensors of the operation remain referenced, and may be written to, until the link is
// gone.
std::shared_ptr<ProcessGroup> make_linked_group(std::shared_ptr<comm::ByteLink> link,
                                                const std::vector<int>& members, uint32_t number,
                                                const std::shared_ptr<MemoryAccount>& account);

}  // namespace collie
