#include "comm/call.hpp"

namespace collie::comm {
namespace {

void check_tensor(const char* what, const Tensor& x) {
  COLLIE_ASSERT(x.defined(), "{}: the tensor is empty", what);
  COLLIE_ASSERT(x.contiguous(), "{}: tensor {} is not contiguous", what, x.shape().to_string());
}

void check_summable(const char* what, const Tensor& x) {
  COLLIE_ASSERT(x.dtype() != DType::i32, "{}: sums are of floating-point numbers, not {}", what,
                name(x.dtype()));
}

// `whole` must be `size` times `part` along axis 0.
void check_parts(const char* what, int size, const Tensor& whole, const Tensor& part) {
  check_tensor(what, whole);
  check_tensor(what, part);
  bool fits = whole.dtype() == part.dtype() && whole.shape().rank() == part.shape().rank() &&
              part.shape().rank() > 0 && whole.dim(0) == size * part.dim(0);
  for (int axis = 1; fits && axis < part.shape().rank(); ++axis) fits = whole.dim(axis) == part.dim(axis);
  COLLIE_ASSERT(fits, "{}: {} {} is not {} times {} {} along axis 0", what, name(whole.dtype()),
                whole.shape().to_string(), size, name(part.dtype()), part.shape().to_string());
}

Call call_of(Operation operation, const Tensor& shown, const Tensor& in, const Tensor& out, int64_t part) {
  Call call;
  call.operation = operation;
  call.dtype = shown.dtype();
  call.shape = shown.shape();
  call.part = part;
  call.on_host = in.device() == DeviceKind::cpu && out.device() == DeviceKind::cpu;
  if (in.has_memory()) call.in = static_cast<const std::byte*>(in.raw());
  if (out.has_memory()) call.out = static_cast<std::byte*>(out.raw());
  return call;
}

void check_peer(const char* what, int size, int peer) {
  COLLIE_ASSERT(peer >= 0 && peer < size, "{}: rank {} is not in a group of {}", what, peer, size);
}

}  // namespace

std::string_view name_of(Operation operation) {
  switch (operation) {
    case Operation::all_reduce_sum:
      return "all_reduce_sum";
    case Operation::reduce_scatter_sum:
      return "reduce_scatter_sum";
    case Operation::all_gather:
      return "all_gather";
    case Operation::broadcast:
      return "broadcast";
    case Operation::all_to_all:
      return "all_to_all";
    case Operation::send:
      return "send";
    case Operation::receive:
      return "receive";
    default:
      return "barrier";
  }
}

std::string describe(const Call& call) {
  std::string text(name_of(call.operation));
  if (call.operation == Operation::barrier) return text;
  if (call.operation == Operation::broadcast || call.operation == Operation::receive)
    text += fmt::format(" from rank {}", call.peer);
  if (call.operation == Operation::send) text += fmt::format(" to rank {}", call.peer);
  return text + fmt::format(" of {} {}", name(call.dtype), call.shape.to_string());
}

void check_on_host(const Call& call) {
  COLLIE_ASSERT(call.on_host, "{}: the tensor is not on the host, and this end takes no others",
                describe(call));
}

bool agree(const Call& a, const Call& b) {
  if (a.operation != b.operation) return false;
  if (a.operation == Operation::barrier) return true;
  return a.dtype == b.dtype && a.shape == b.shape && a.peer == b.peer && a.on_host == b.on_host;
}

bool opposite(const Call& a, const Call& b) {
  return a.is_transfer() && b.is_transfer() && a.operation != b.operation && a.dtype == b.dtype &&
         a.shape == b.shape && a.on_host == b.on_host;
}

std::string disagreement(int rank, const Call& call, int other_rank, const Call& other_call) {
  if (other_rank < rank) return disagreement(other_rank, other_call, rank, call);
  const bool in_one_place = call.on_host == other_call.on_host || call.operation == Operation::barrier ||
                            other_call.operation == Operation::barrier;
  const auto shown = [&](const Call& each) {
    return describe(each) + (in_one_place ? "" : each.on_host ? " on the host" : " on a device");
  };
  return fmt::format("process group: rank {} calls {}, but rank {} calls {}", rank, shown(call), other_rank,
                     shown(other_call));
}

Call all_reduce_call(Tensor& x) {
  check_tensor("all_reduce_sum", x);
  check_summable("all_reduce_sum", x);
  return call_of(Operation::all_reduce_sum, x, x, x, x.numel());
}

Call reduce_scatter_call(int size, const Tensor& in, Tensor& out) {
  check_parts("reduce_scatter_sum", size, in, out);
  check_summable("reduce_scatter_sum", in);
  return call_of(Operation::reduce_scatter_sum, in, in, out, out.numel());
}

Call all_gather_call(int size, const Tensor& in, Tensor& out) {
  check_parts("all_gather", size, out, in);
  return call_of(Operation::all_gather, in, in, out, in.numel());
}

Call broadcast_call(int size, Tensor& x, int root) {
  check_tensor("broadcast", x);
  check_peer("broadcast", size, root);
  Call call = call_of(Operation::broadcast, x, x, x, x.numel());
  call.peer = root;
  return call;
}

Call all_to_all_call(int size, const Tensor& in, Tensor& out) {
  check_tensor("all_to_all", in);
  check_tensor("all_to_all", out);
  COLLIE_ASSERT(in.dtype() == out.dtype() && in.shape() == out.shape() && in.shape().rank() > 0 &&
                    in.dim(0) % size == 0,
                "all_to_all among {}: in is {} {}, out is {} {}", size, name(in.dtype()),
                in.shape().to_string(), name(out.dtype()), out.shape().to_string());
  COLLIE_ASSERT(!in.begins_with(out) || in.numel() == 0, "all_to_all cannot work in place");
  return call_of(Operation::all_to_all, in, in, out, in.numel() / size);
}

Call send_call(int size, int rank, const Tensor& x, int destination) {
  check_tensor("send", x);
  check_peer("send", size, destination);
  COLLIE_ASSERT(destination != rank, "rank {} sends to itself", rank);
  Call call = call_of(Operation::send, x, x, x, x.numel());
  call.peer = destination;
  return call;
}

Call receive_call(int size, int rank, Tensor& x, int source) {
  check_tensor("receive", x);
  check_peer("receive", size, source);
  COLLIE_ASSERT(source != rank, "rank {} receives from itself", rank);
  Call call = call_of(Operation::receive, x, x, x, x.numel());
  call.peer = source;
  return call;
}

}  // namespace collie::comm
