#include "comm/volume.hpp"

namespace collie::comm {

Volume volume_of(const Call& call, int size, int rank) {
  const int64_t others = size - 1, part = static_cast<int64_t>(call.part_bytes());
  switch (call.operation) {
    case Operation::all_reduce_sum:
      return {2 * others * part / size, 2 * others * part / size};
    case Operation::reduce_scatter_sum:
    case Operation::all_gather:
    case Operation::all_to_all:
      return {others * part, others * part};
    case Operation::broadcast:
      if (size == 1) return {};
      return rank == call.peer ? Volume{others * part, 0} : Volume{0, part};
    case Operation::send:
      return {part, 0};
    case Operation::receive:
      return {0, part};
    default:
      return {};
  }
}

}  // namespace collie::comm
