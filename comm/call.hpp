// One rank's side of one operation of a group, in a form that ranks compare with each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kernels/tensor.hpp"

namespace collie::comm {

enum class Operation : uint8_t {
  all_reduce_sum,
  reduce_scatter_sum,
  all_gather,
  broadcast,
  all_to_all,
  send,
  receive,
  barrier
};

std::string_view name_of(Operation operation);  // "all_reduce_sum", ...

struct Call {
  Operation operation = Operation::barrier;
  DType dtype = DType::f32;
  Shape shape;       // of the tensor, or of `in`
  int peer = -1;     // broadcast: root; send: destination; receive: source
  int64_t part = 0;  // elements: all of an all-reduce or broadcast, else one rank's input or output
  const std::byte* in = nullptr;  // null if the tensors are meta tensors
  std::byte* out = nullptr;
  bool on_host = true;  // whether `in` and `out` may be dereferenced

  bool is_transfer() const { return operation == Operation::send || operation == Operation::receive; }
  size_t part_bytes() const { return static_cast<size_t>(part) * size_of(dtype); }
};

// "all_reduce_sum of float32 [2, 3]", "send to rank 1 of float32 [4]", "barrier"
std::string describe(const Call& call);

// Asserts that a group without staging (comm/staged_group.hpp) may dereference the call's tensors.
void check_on_host(const Call& call);

// Says whether two ranks' calls are the same collective.
bool agree(const Call& a, const Call& b);

// Says whether they are the two ends of one transfer, given that each names the other rank.
bool opposite(const Call& a, const Call& b);

// Returns "process group: rank 0 calls barrier, but rank 1 calls send to rank 0 of float32 [4]". The lower
// rank comes first.
std::string disagreement(int rank, const Call& call, int other_rank, const Call& other_call);

// These make the calls of a group of `size` from `rank`'s arguments. They throw std::logic_error if the
// arguments cannot be right.
Call all_reduce_call(Tensor& x);
Call reduce_scatter_call(int size, const Tensor& in, Tensor& out);
Call all_gather_call(int size, const Tensor& in, Tensor& out);
Call broadcast_call(int size, Tensor& x, int root);
Call all_to_all_call(int size, const Tensor& in, Tensor& out);
Call send_call(int size, int rank, const Tensor& x, int destination);
Call receive_call(int size, int rank, Tensor& x, int source);

}  // namespace collie::comm
